"""Subjects from packed label maps, and scans of slabs of their brains."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import attrs
import nibabel as nib
import numpy as np
import pytest
import torch

from bids_ihf.errors import BadData
from bids_ihf.lab.benchmarks.pool_scans import on_network_grid
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.tissues import TISSUE_INDEX
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.training.chunks import numbered_batches
from bids_ihf.lab.training.packed_people import read_people, register_subject, to_bytes
from bids_ihf.lab.training.reference_pool import reference_pool
from bids_ihf.lab.training.scan_statistics import interpolated, measure_blur, scan_statistics
from bids_ihf.lab.training.slab_scans import Slab, random_slab, scan_on_grid, scan_slab
from bids_ihf.lab.training.template_subjects import TemplateSubject, template_subjects
from bids_ihf.lab.training.whole_scans import measure_scan, slab_of, whole_scan
from bids_ihf.network.checkpoint import load_encoder
from bids_ihf.targets.intensity import robust_scale
from bids_ihf.targets.network_input import measure_profile

if TYPE_CHECKING:
    from pathlib import Path

SHIFTS = (0.5, 0.25, 0.0)


@pytest.fixture(scope="module")
def people(labels: Path) -> Path:
    path = labels.parent / "two.safetensors"
    maps = sorted(labels.glob("*_dseg.nii.gz"))[:2]
    packed = [register_subject(f"p{n}", m, 7 + n, lesions=bool(n)) for n, m in enumerate(maps)]
    path.write_bytes(to_bytes(packed))
    return path


@pytest.fixture(scope="module")
def subject(people: Path) -> TemplateSubject:
    return template_subjects(people, people.parent / "arrays", ("p0",))[0]


def test_packed_label_maps_come_back(people: Path, labels: Path) -> None:
    packed = read_people(people)[0]
    image = nib.load(labels / "person-0_dseg.nii.gz")
    counts = np.bincount(np.asanyarray(image.dataobj).ravel())
    assert np.bincount(packed.labels.ravel())[[2, 3, 4]].tolist() == counts[[2, 3, 4]].tolist()
    assert packed.brain[packed.labels == 2].all()
    assert not packed.brain[packed.labels == 0].any()


def test_missing_people_are_one_sentence(people: Path) -> None:
    with pytest.raises(BadData, match="does not hold p9; delete the file"):
        read_people(people, ("p0", "p9"))


def test_training_imports_no_library_of_images() -> None:
    """Nor ANTs, nipype and pandas, which machines with a GPU need not have."""
    code = (
        "import sys\n"
        "for name in ('nibabel', 'ants', 'nipype', 'pandas', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import bids_ihf.lab.training.training_run, bids_ihf.lab.commands.train"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_fractions_sum_to_one_and_white_matter_is_where_its_label_is(
    subject: TemplateSubject, people: Path
) -> None:
    totals = subject.fractions.sum(axis=1, dtype=np.int64)
    assert np.abs(totals - 255).max() <= 6  # each tissue is rounded
    packed = read_people(people, ("p0",))[0]
    volume = 8.0 * np.isin(packed.labels, (2, 41)).sum()
    white = subject.fractions[:, TISSUE_INDEX["white"]].sum(dtype=np.int64) / 255
    assert white == pytest.approx(volume, rel=0.02)


def test_a_slab_is_part_of_the_whole(subject: TemplateSubject) -> None:
    whole, slab = subject.slab(0, len(subject.mask)), subject.slab(20, 30)
    np.testing.assert_allclose(
        slab.affine @ [*slab.brain_centre(), 1], whole.affine @ [*whole.brain_centre(), 1]
    )
    assert torch.equal(slab.fractions, whole.fractions[..., 20:30])
    scanner = typical_scanner("GE", "T1w", 3)
    image, part = scan(whole, scanner, 1), scan(slab, scanner, 1)
    brain = slab.brain[..., 4:6].numpy()
    # Noise and the margins of the slab differ, contrast and fields do not.
    ratio = part[..., 4:6][brain] / image[..., 24:26][brain]
    assert np.median(ratio) == pytest.approx(1, abs=0.01)
    assert np.corrcoef(part[..., 4:6][brain], image[..., 24:26][brain])[0, 1] > 0.98


def test_interpolation_blurs_by_its_variance_and_keeps_the_place() -> None:
    impulse = torch.zeros(9, 9, 9)
    impulse[4, 4, 4] = 1
    blurred = interpolated(impulse, SHIFTS).numpy()
    for axis, shift in enumerate(SHIFTS):
        line = blurred.sum(axis=tuple(k for k in range(3) if k != axis))
        offset = np.arange(9) - 4
        assert (line * offset).sum() == pytest.approx(0, abs=1e-6)
        assert (line * offset**2).sum() == pytest.approx(shift * (1 - shift), abs=1e-6)


def test_the_blur_of_a_scanner_is_measured(subject: TemplateSubject) -> None:
    sharp = attrs.evolve(
        typical_scanner("GE", "T1w", 3), psf=(0, 0, 0), pixel=(0, 0, 0), apodisation=0,
        elliptical=False, partial_fourier=1.0, thickness=0, spacing=0, sharpening=0, noise=0.02,
    )  # fmt: skip
    none = measure_blur(sharp, (0, 0, 0))
    assert none.blur == pytest.approx(0, abs=0.05)
    assert none.noise == pytest.approx(1, abs=0.02)
    wide = measure_blur(attrs.evolve(sharp, psf=(2.3548, 2.3548, 2.3548)), (0, 0, 0))
    assert wide.blur == pytest.approx(1, abs=0.02)
    thick = measure_blur(attrs.evolve(sharp, thickness=5.0, slice_axis=2), (0, 0, 0))
    assert thick.blur == pytest.approx(0, abs=0.05)
    assert thick.thickness == pytest.approx(2.5, abs=0.4)


@pytest.mark.parametrize("modality", ["T1w", "T2w", "FLAIR"])
def test_statistics_of_the_sample_are_those_of_the_whole_scan(
    subject: TemplateSubject, modality: str
) -> None:
    scanner = typical_scanner("Siemens", modality, 3)
    whole = Slab(0, len(subject.mask), SHIFTS)
    image, statistics = scan_on_grid(subject, whole, scanner, 5)
    data, mask = image.numpy(), np.moveaxis(subject.mask, 0, 2) > 127
    scale = statistics.scale
    assert scale.high == pytest.approx(robust_scale(data, mask).high, rel=0.05)
    white = subject.slab(0, len(subject.mask)).fraction("white") > 0.95
    assert np.median(data[white & mask]) == pytest.approx(scanner.units, rel=0.04)


def test_a_slab_scan_is_reproducible(subject: TemplateSubject) -> None:
    scanner = typical_scanner("Philips", "T2w", 3)
    slab = random_slab(subject, np.random.default_rng(0))
    first, statistics = scan_slab(subject, slab, scanner, 5)
    again, _ = scan_slab(subject, slab, scanner, 5)
    other, _ = scan_slab(subject, slab, scanner, 6)
    assert first.tobytes() == again.tobytes()
    assert first.shape == (slab.stop - slab.first + 2, 160, 192)
    assert 0 < np.abs(first - other).mean() < 0.1
    assert statistics.scale.high > 0
    assert scan_statistics(subject.sample, scanner, slab.shifts, 5).scale == statistics.scale


def test_a_slab_of_a_whole_scan_is_that_of_the_slab_alone_but_for_noise(
    subject: TemplateSubject,
) -> None:
    scanner = attrs.evolve(typical_scanner("GE", "T1w", 3), noise=0.0)
    slab = Slab(24, 32, SHIFTS)
    scan = whole_scan(subject, scanner, 5, SHIFTS)
    whole, (alone, _) = slab_of(scan, slab), scan_slab(subject, slab, scanner, 5)
    assert whole.shape == alone.shape
    inside = subject.brain_mask(24, 32) > 0.5
    gain = np.median((whole[1:-1][inside] + 1) / (alone[1:-1][inside] + 1))
    assert gain == pytest.approx(1, abs=0.05)  # the scale of the whole brain, and of its sample
    difference = whole[1:-1][inside] + 1 - gain * (alone[1:-1][inside] + 1)
    assert np.abs(difference).mean() < 0.02


def test_a_measured_scan_has_the_profile_of_the_product(subject: TemplateSubject) -> None:
    encoder, _ = load_encoder()
    scanner = typical_scanner("Siemens", "T1w", 3)
    scan, profile = measure_scan(subject, scanner, 5, SHIFTS, encoder)
    np.testing.assert_array_equal(profile.landmarks, measure_profile(scan, encoder).landmarks)
    assert profile.scale == scan.scale
    other, _ = measure_scan(subject, scanner, 6, SHIFTS, encoder)
    assert not np.array_equal(scan.data, other.data)


def test_a_reference_pool_has_whole_scans(
    subject: TemplateSubject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bids_ihf.lab.training.reference_pool.RANDOM_SCANNERS", 1)
    monkeypatch.setattr("bids_ihf.lab.training.reference_pool.SCANNERS_PER_VENDOR", 1)
    made = reference_pool([subject], ("T2w",), tmp_path, seed=1)
    assert [scan.vendor for scan in made.scans] == ["Siemens", "GE", "Philips", "random"]
    again = reference_pool([subject], ("T2w",), tmp_path, seed=1)
    assert [scan.scale for scan in again.scans] == [scan.scale for scan in made.scans]
    on_grid = on_network_grid(again, again.scans[0])
    assert on_grid.modality == "T2w"
    assert on_grid.brain.sum() == (subject.mask > 127).sum()


class _Squares:
    steps_per_chunk = 3

    def chunk(self, number: int) -> list[int]:
        return [(3 * number + k) ** 2 for k in range(3)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # with one processor
def test_batches_depend_on_their_step_alone() -> None:
    everything = list(numbered_batches(_Squares(), 0, 8, 1))
    assert everything == [(step, step**2) for step in range(8)]
    assert list(numbered_batches(_Squares(), 4, 8, 1)) == everything[4:]
    assert list(numbered_batches(_Squares(), 4, 8, 2)) == everything[4:]
