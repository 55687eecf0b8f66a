"""The simulated study: valid BIDS, the vendors' geometries, and a truth that fits its images."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bids_ihf.lab.simulation.demo_dataset import write_demo_dataset
from bids_ihf.lab.simulation.demo_series import DiffusionScheme
from bids_ihf.lab.simulation.demo_session import VENDOR_GEOMETRIES, DemoSession
from bids_ihf.lab.simulation.storage_axes import to_storage_axes
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.demo_session import ScanTruth
    from bids_ihf.lab.simulation.template_head import TemplateHead

ZOOM = 4.0


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One subject at 4 mm."""
    folder = tmp_path_factory.mktemp("study") / "bids"
    write_demo_dataset(folder, subjects=1, seed=3, zoom=ZOOM)
    return folder


def test_each_subject_is_once_on_each_scanner(study: Path) -> None:
    images = sorted(path.relative_to(study).as_posix() for path in study.rglob("*.nii.gz"))
    assert images == sorted(
        f"sub-01/ses-{vendor}/{folder}/sub-01_ses-{vendor}_{suffix}.nii.gz"
        for vendor in ("siemens", "ge", "philips")
        for folder, suffix in (("anat", "T1w"), ("anat", "T2w"), ("anat", "FLAIR"), ("dwi", "dwi"))
    )
    assert (study / "participants.tsv").read_text().splitlines()[1].startswith("sub-01\t")


def test_validator_finds_no_error(study: Path) -> None:
    binary = shutil.which("bids-validator-deno")
    if binary is None:
        pytest.skip("needs bids-validator-deno on the path")
    done = subprocess.run(
        [binary, str(study), "--json"], capture_output=True, text=True, check=False
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert done.returncode == 0


@pytest.mark.parametrize("vendor", BUILTIN_VENDORS)
def test_storage_and_voxels_are_the_vendors(study: Path, vendor: str) -> None:
    import nibabel as nib

    geometry = VENDOR_GEOMETRIES[vendor]
    folder = study / "sub-01" / f"ses-{vendor.lower()}" / "anat"
    t1w, t2w = (
        nib.load(folder / f"sub-01_ses-{vendor.lower()}_{suffix}.nii.gz")
        for suffix in ("T1w", "T2w")
    )
    for image in (t1w, t2w):
        assert "".join(nib.aff2axcodes(image.affine)) == geometry.storage_axes
        assert image.get_data_dtype() == np.int16
        assert np.allclose(image.get_qform(), image.affine, atol=1e-3)
    assert max(t2w.header.get_zooms()) == pytest.approx(ZOOM * geometry.t2w_slice_voxels)
    metadata = json.loads((folder / f"sub-01_ses-{vendor.lower()}_T2w.json").read_text())
    assert metadata["SliceThickness"] == ZOOM * geometry.t2w_slice_voxels


@pytest.mark.parametrize("vendor", ["siemens", "ge", "philips"])
def test_series_have_tables_that_fit(study: Path, vendor: str) -> None:
    import nibabel as nib

    stem = study / f"sub-01/ses-{vendor}/dwi/sub-01_ses-{vendor}_dwi"
    image = nib.load(f"{stem}.nii.gz")
    bvals, bvecs = (np.loadtxt(f"{stem}.{kind}") for kind in ("bval", "bvec"))
    assert image.shape[3] == len(bvals) == bvecs.shape[1]
    assert np.allclose(np.linalg.norm(bvecs, axis=0), bvals > 0, atol=1e-5)
    assert min(image.header.get_zooms()[:3]) >= 3
    data = image.get_fdata()
    inside = data[..., 0] > np.percentile(data[..., 0], 90)
    assert data[inside][:, bvals == 1000].mean() < 0.8 * data[inside][:, 0].mean()


def test_one_scanner_and_another_scheme(tmp_path: Path) -> None:
    import nibabel as nib

    scheme = DiffusionScheme({0: 1, 700: 6}, zoom=2 * ZOOM)
    written = write_demo_dataset(
        tmp_path, subjects=1, seed=3, zoom=ZOOM, vendors=["GE"], suffixes=["T1w", "dwi"],
        scheme=scheme,
    )  # fmt: skip
    assert [path.name.rsplit("_", 1)[1] for path in written] == [
        "T1w.nii.gz",
        "dwi.nii.gz",
    ]
    series = nib.load(written[-1])
    assert series.shape[3] == 7
    assert np.allclose(series.header.get_zooms()[:3], 2 * ZOOM)
    bvals = written[-1].with_name(written[-1].name.replace(".nii.gz", ".bval")).read_text()
    assert sorted(map(float, bvals.split())) == [0.0, *[700.0] * 6]


def test_same_seed_same_files(study: Path, tmp_path: Path) -> None:
    write_demo_dataset(tmp_path / "again", subjects=1, seed=3, zoom=ZOOM)
    for path in sorted(study.rglob("*.*")):
        again = tmp_path / "again" / path.relative_to(study)
        assert again.read_bytes() == path.read_bytes(), path.name


class TestTruth:
    """The truth that comes with a scan."""

    @pytest.mark.parametrize("vendor", BUILTIN_VENDORS)
    def test_brain_lies_on_the_stored_image(self, head: TemplateHead, vendor: str) -> None:
        session = DemoSession(1, vendor, zoom=ZOOM)
        image, truth = session.scan("T1w", session.anatomy(head))
        assert image.data.shape == truth.brain.shape
        axes = VENDOR_GEOMETRIES[vendor].storage_axes
        white = truth.anatomy.fraction("white") > 0.95
        stored, affine = to_storage_axes(white, truth.anatomy.affine, axes)
        assert np.allclose(affine, image.affine)
        brain = image.data[truth.brain]
        assert np.median(image.data[stored]) > 1.05 * np.median(brain)
        air = truth.anatomy.fraction("air") > 0.99
        stored_air, _ = to_storage_axes(air, truth.anatomy.affine, axes)
        assert np.median(image.data[stored_air]) < 0.15 * np.median(brain)

    def test_poses_bring_one_session_onto_another(self, head: TemplateHead) -> None:
        first, second = (
            session.scan("T1w", session.anatomy(head))[1]
            for session in (DemoSession(1, vendor, zoom=ZOOM) for vendor in ("Siemens", "GE"))
        )
        transform = second.pose @ np.linalg.inv(first.pose)
        assert not np.allclose(transform, np.eye(4), atol=0.5)
        expected = transform @ np.append(_brain_centre(first), 1)
        assert np.allclose(expected[:3], _brain_centre(second), atol=0.6)
        assert np.linalg.norm(_brain_centre(first) - _brain_centre(second)) > 1

    def test_t2w_moves_a_little_within_a_session(self, head: TemplateHead) -> None:
        session = DemoSession(1, "Philips", zoom=ZOOM)
        anatomy = session.anatomy(head)
        (_, t1w), (_, t2w) = session.scan("T1w", anatomy), session.scan("T2w", anatomy)
        movement = t2w.pose @ np.linalg.inv(t1w.pose)
        assert 0 < np.abs(movement - np.eye(4)).max() < 3
        expected = movement @ np.append(_brain_centre(t1w), 1)
        assert np.allclose(expected[:3], _brain_centre(t2w), atol=0.8)

    def test_thick_slices_average_thin_ones(self, head: TemplateHead) -> None:
        thin = DemoSession(1, "Siemens", zoom=ZOOM).anatomy(head)
        thick = thin.averaged((2, 1, 1))
        pair = thin.fractions[:, 4:6].mean(dim=1)
        assert np.allclose(thick.fractions[:, 2].numpy(), pair.numpy())
        assert np.allclose(thick.zooms, (2 * ZOOM, ZOOM, ZOOM))
        assert np.allclose(_centre(thick), _centre(thin), atol=0.05)


def _brain_centre(truth: ScanTruth) -> np.ndarray:
    return _centre(truth.anatomy)


def _centre(anatomy: Anatomy) -> np.ndarray:
    """Centre of mass of the brain's tissues in the world."""
    weights = anatomy.fraction("grey", "white")
    voxels = np.indices(weights.shape).reshape(3, -1) @ weights.ravel() / weights.sum()
    return anatomy.affine[:3, :3] @ voxels + anatomy.affine[:3, 3]
