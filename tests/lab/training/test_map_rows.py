"""Rows of training of the maps of diffusion series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest

from bids_ihf.lab.simulation.epi_population import typical_shell_scanner
from bids_ihf.lab.training import template_subjects as template_subjects_module
from bids_ihf.lab.training import vendor_profiles
from bids_ihf.lab.training.packed_people import read_people, register_subject, to_bytes
from bids_ihf.lab.training.shell_scans import scan_shell_slab, shell_statistics
from bids_ihf.lab.training.slab_sampling import SlabSampler
from bids_ihf.lab.training.slab_scans import Slab
from bids_ihf.lab.training.template_subjects import template_subjects
from bids_ihf.lab.training.vendor_profiles import typical_profiles, vendor_targets
from bids_ihf.lab.training.voxel_grid import voxel_grid
from bids_ihf.network.encoder import Encoder
from bids_ihf.targets.map_profiles import DIFFUSION_MAPS, nearest_map_key
from bids_ihf.targets.target_file import pack_target, read_target

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.lab.training.template_subjects import TemplateSubject


@pytest.fixture(scope="module")
def subjects(labels: Path) -> list[TemplateSubject]:
    path = labels.parent / "map-people.safetensors"
    maps = sorted(labels.glob("*_dseg.nii.gz"))[:2]
    packed = [register_subject(f"p{n}", m, 7 + n, lesions=bool(n)) for n, m in enumerate(maps)]
    path.write_bytes(to_bytes(packed))
    return template_subjects(path, labels.parent / "map-arrays")


@pytest.fixture(scope="module")
def sampler(subjects: list[TemplateSubject], labels: Path) -> SlabSampler:
    encoder = Encoder(2).eval()
    typical = typical_profiles(
        labels.parent / "map-people.safetensors",
        labels.parent / "map-arrays",
        [subject.name for subject in subjects],
        (encoder, "hash"),
        labels.parent / "map-typical",
        modalities=DIFFUSION_MAPS,
        processes=1,
    )
    return SlabSampler(subjects, typical, encoder, modalities=DIFFUSION_MAPS, batch=4, seed=1)


def test_voxels_average_and_interpolate_back(subjects: list[TemplateSubject]) -> None:
    subject = subjects[0]
    middle = len(subject.mask) // 2
    grid = voxel_grid(subject, middle, middle + 6, (2.5, 2.0, 3.0), (0, 0, 0), (0.3, 0.6, 0.9))
    ramp = np.indices(subject.mask.shape)[1].astype(np.float32)  # along x
    box = [
        slice(first, first + matrix.shape[1])
        for first, matrix in zip(grid.start, grid.coarser, strict=True)
    ]
    coarse = grid._coarse(ramp[box[2], box[0], box[1]])
    back = grid.slices(coarse, middle, middle + 6, subject.mask.shape[1:])
    inner = (slice(None), slice(box[0].start + 8, box[0].stop - 8), slice(box[1].start + 8, -60))
    assert np.allclose(back[inner], ramp[middle : middle + 6][inner], atol=0.05)
    anatomy = grid.anatomy(subject)
    assert anatomy.zooms == pytest.approx([2.5, 2.0, 3.0])
    world = anatomy.affine[:3, :3] @ anatomy.brain_centre() + anatomy.affine[:3, 3]
    whole = subject.affine[:3, :3] @ subject.centre + subject.affine[:3, 3]
    assert world == pytest.approx(whole)


def test_the_sample_has_the_levels_of_the_slab(subjects: list[TemplateSubject]) -> None:
    subject = subjects[0]
    measured = typical_shell_scanner("GE", 1000.0, 3)
    statistics = shell_statistics(subject, measured, 5)
    slab = Slab(len(subject.mask) // 2 - 4, len(subject.mask) // 2 + 4, (0.2, 0.4, 0.6))
    scanned = scan_shell_slab(subject, slab, measured, statistics.correction, 5)
    scale = statistics.scales(statistics.maps.by_name())["shell-mean"]
    image = scanned.maps.by_name()["shell-mean"]
    slices = scanned.slices(image, scale, slab, subject.mask.shape[1:])[1:-1]
    white = subject.tissues(slab.first, slab.stop)[1] > 0.98
    assert slices.shape == white.shape
    level = float(np.median(slices[white]))
    expected = statistics.profile
    b0, attenuation = measured.scanner.units, expected.shells[0].fibrous
    signal = b0 * np.exp(-1000 * attenuation)
    assert (level + 1) / 2 * scale.high == pytest.approx(signal, rel=0.12)


@pytest.mark.parametrize(
    ("modality", "limit"), [("b0", 1.05), ("shell-mean", 1.0), ("shell-energy", 1.05)]
)
def test_the_shell_model_brings_the_source_nearer(
    sampler: SlabSampler, modality: str, limit: float
) -> None:
    """The ellipsoids of the tests have too little CSF and too few fibres for more."""
    rows = [sampler.draw_rows([3, number], modality) for number in range(4)]
    before, after = [], []
    for slab in rows:
        assert slab.matched.shape == slab.scaled.shape == (12, 3, *slab.truth.shape[1:])
        assert slab.modality == modality
        assert slab.target.shape == (12, sampler.encoder.size)
        assert all(np.isfinite(getattr(slab, name)).all() for name in ("matched", "truth"))
        brain = slab.mask > 0.5
        before.append(np.abs(slab.scaled[:, 1] - slab.truth)[brain].mean())
        after.append(np.abs(slab.matched[:, 1] - slab.truth)[brain].mean())
    assert np.mean(after) < limit * np.mean(before)


def test_the_same_seed_gives_the_same_rows(sampler: SlabSampler) -> None:
    one, again = (sampler.draw_rows([4, 2], "shell-energy") for _ in range(2))
    assert np.array_equal(one.matched, again.matched)
    assert np.array_equal(one.truth, again.truth)


def test_a_batch_names_its_maps_to_the_network_and_nothing_to_the_encoder(
    sampler: SlabSampler,
) -> None:
    batch = sampler.chunk(0)[0]
    assert not batch.modality.any()
    assert set(batch.context[:, :3].flatten().tolist()) == {0.0}


def test_a_target_holds_the_statistics_of_the_maps(sampler: SlabSampler, tmp_path: Path) -> None:
    target = vendor_targets(sampler.typical, "hash", {})[0]
    path = tmp_path / "target.safetensors"
    path.write_bytes(pack_target(target))
    profiles = read_target(path).profiles
    key = nearest_map_key(profiles, "shell-energy", 2100)
    assert key == "shell-energy-b2000"
    assert profiles[key].embeddings.shape[1] == sampler.encoder.size
    assert not profiles[key].tissue_histograms.any()


@pytest.mark.usefixtures("sampler")
def test_profiles_are_measured_again_of_subjects_who_changed(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, changed = labels.parent / "map-people.safetensors", tmp_path / "people.safetensors"
    first, second = read_people(people)
    changed.write_bytes(to_bytes([first, attrs.evolve(second, seed=second.seed + 1)]))
    measured: list[str] = []
    monkeypatch.setattr(
        vendor_profiles, "_write_profiles", lambda *arguments: measured.append(arguments[2])
    )

    def measured_again(path: Path) -> list[str]:
        measured.clear()
        typical_profiles(
            path, labels.parent / "map-arrays", ["p0", "p1"], (Encoder(2).eval(), "hash"),
            labels.parent / "map-typical", modalities=DIFFUSION_MAPS, processes=1,
        )  # fmt: skip
        return measured

    assert measured_again(people) == []
    assert measured_again(changed) == ["p1"]
    monkeypatch.setattr(template_subjects_module, "CACHE_VERSION", -1)
    assert measured_again(people) == ["p0", "p1"]
