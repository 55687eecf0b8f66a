"""Reverse-encoded b=0 images get the intensities of their series."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest
from attrs import evolve

from bids_ihf.bids.field_maps import epi_images_for
from bids_ihf.bids.images import SourceImage
from bids_ihf.config import RunConfig
from bids_ihf.dwi import series_fit
from bids_ihf.pipeline import worker
from bids_ihf.pipeline.job import HARMONIZE_ACTION
from bids_ihf.pipeline.plan import plan
from bids_ihf.targets.target import Target
from tests.pipeline.test_series import RESOLVED, STEM, TARGET, image_of, prepared_of, root, save

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.pipeline.job import Job

__all__ = ["root"]

SHIFT_VOXELS = 1
"""Distortion against the series."""


def reverse(
    root: Path, name: str, *, volumes: int, affine: np.ndarray | None = None
) -> SourceImage:
    """A b=0 image of the same head, displaced; one volume is 3D."""
    first = nibabel.load(root / f"{STEM}.nii.gz").get_fdata()[..., 0]
    data = np.roll(first, SHIFT_VOXELS, axis=1)
    path = root / f"sub-1/dwi/{name}.nii.gz"
    save(path, data if volumes == 1 else np.stack([data] * volumes, axis=-1), affine)
    bval, bvec = (path.with_name(f"{name}.{kind}") for kind in ("bval", "bvec"))
    bval.write_text(" ".join(["0"] * volumes))
    bvec.write_text("\n".join([" ".join(["0"] * volumes)] * 3))
    return evolve(SourceImage.from_path(path, root), bval=bval, bvec=bvec)


def harmonized(
    images: list[SourceImage], root: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Job]:
    monkeypatch.setattr(worker, "load_target_cached", lambda *_: Target("GE", "e", {}, TARGET))
    monkeypatch.setattr(series_fit, "MASK_EROSION_MM", 1.0)
    config = RunConfig(root, out)
    jobs = plan(images, config, RESOLVED)
    for job in jobs:
        if job.action == HARMONIZE_ACTION:
            worker._harmonize_series(job, prepared_of(root), config, RESOLVED, 1)
    return jobs


@pytest.mark.parametrize("volumes", [1, 3])
def test_it_forms_a_pair_with_its_harmonized_series(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volumes: int
) -> None:
    image = reverse(root, "sub-1_dir-PA_dwi", volumes=volumes)
    jobs = harmonized([image_of(root), image], root, tmp_path / "out", monkeypatch)
    assert jobs[1].action == "intensities of sub-1_dwi"
    path = jobs[1].outputs.companion
    assert path.name == "sub-1_dir-PA_desc-harmonizedB0_dwi.nii.gz"
    found = nibabel.load(path)
    assert np.array_equal(found.affine, nibabel.load(image.path).affine)
    assert found.shape == nibabel.load(image.path).shape
    data = np.asarray(found.dataobj).reshape(*found.shape[:3], -1)[..., 0]
    b0 = nibabel.load(jobs[0].outputs.harmonized).get_fdata()[..., 0]
    mask = prepared_of(root).mask
    tissue = mask & (b0 < 1.5 * np.median(b0[mask]))
    back = np.roll(data, -SHIFT_VOXELS, axis=1)
    assert np.median((back / np.maximum(b0, 1))[tissue]) == pytest.approx(1, abs=0.01)
    fluid = mask & (b0 > 2 * np.median(b0[mask]))
    assert np.median((back / np.maximum(b0, 1))[fluid]) == pytest.approx(1, abs=0.02)
    sidecar = json.loads(path.with_name(f"{path.name[:-7]}.json").read_text())
    assert "sub-1_dwi" in sidecar["Description"]
    assert sidecar["ConfigurationHash"] == jobs[0].hash
    table = path.with_name(f"{path.name[:-7]}.bval")
    assert table.read_bytes() == image.bval.read_bytes()


def test_another_grid_is_told_and_left(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    image = reverse(root, "sub-1_dir-PA_dwi", volumes=1, affine=np.diag([-2.0, 2, 2, 1]))
    with caplog.at_level(logging.WARNING):
        jobs = harmonized([image_of(root), image], root, tmp_path / "out", monkeypatch)
    assert "is not on the grid of sub-1_dwi" in caplog.text
    assert not jobs[1].outputs.companion.exists()
    assert jobs[0].finished


def field_map(root: Path, sidecar: dict[str, object]) -> Path:
    """A reverse-encoded image in ``fmap/``."""
    path = root / "sub-1/fmap/sub-1_acq-x_dir-PA_epi.nii.gz"
    path.parent.mkdir(exist_ok=True)
    first = nibabel.load(root / f"{STEM}.nii.gz").get_fdata()[..., 0]
    save(path, np.roll(first, SHIFT_VOXELS, axis=1))
    path.with_name("sub-1_acq-x_dir-PA_epi.json").write_text(json.dumps(sidecar))
    return path


@pytest.mark.parametrize(
    "sidecar",
    [
        {"IntendedFor": "dwi/sub-1_dwi.nii.gz"},
        {"IntendedFor": ["func/sub-1_bold.nii.gz", "bids::sub-1/dwi/sub-1_dwi.nii.gz"]},
        {"B0FieldIdentifier": ["other", "pepolar0"]},
    ],
)
def test_an_image_in_fmap_goes_with_the_series_that_its_sidecar_names(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sidecar: dict[str, object]
) -> None:
    source = field_map(root, {**sidecar, "PhaseEncodingDirection": "j", "TotalReadoutTime": 0.05})
    image = evolve(image_of(root), metadata={"B0FieldSource": "pepolar0"})
    (job,) = harmonized([image], root, tmp_path / "out", monkeypatch)
    assert job.finished
    path = tmp_path / "out/sub-1/fmap/sub-1_acq-x_dir-PA_desc-harmonizedB0_epi.nii.gz"
    found, own = nibabel.load(path), nibabel.load(source)
    assert np.array_equal(found.affine, own.affine)
    b0 = nibabel.load(job.outputs.harmonized).get_fdata()[..., 0]
    mask = prepared_of(root).mask & (b0 < 1.5 * np.median(b0[prepared_of(root).mask]))
    back = np.roll(found.get_fdata(), -SHIFT_VOXELS, axis=1)
    assert np.median((back / np.maximum(b0, 1))[mask]) == pytest.approx(1, abs=0.01)
    written = json.loads(path.with_name(f"{path.name[:-7]}.json").read_text())
    assert written["IntendedFor"] == ["bids::sub-1/dwi/sub-1_desc-harmonized_dwi.nii.gz"]
    assert (written["PhaseEncodingDirection"], written["TotalReadoutTime"]) == ("j", 0.05)
    assert written["ConfigurationHash"] == job.hash


def test_what_the_root_says_of_an_image_in_fmap_counts(root: Path) -> None:
    source = field_map(root, {"TotalReadoutTime": 0.05})
    inherited = {"PhaseEncodingDirection": "j", "TotalReadoutTime": 0.1}
    (root / "dir-PA_epi.json").write_text(json.dumps(inherited))
    (root / "dir-AP_epi.json").write_text(json.dumps({"PhaseEncodingDirection": "j-"}))
    intended = {"IntendedFor": "dwi/sub-1_dwi.nii.gz"}
    (root / "sub-1/sub-1_epi.json").write_text(json.dumps(intended))
    (image,) = epi_images_for(image_of(root))
    assert image.path == source
    assert image.metadata == {
        "PhaseEncodingDirection": "j", "TotalReadoutTime": 0.05, **intended,
    }  # fmt: skip


def test_an_image_in_fmap_for_another_series_is_left(root: Path, tmp_path: Path) -> None:
    config = RunConfig(root, tmp_path / "out")
    field_map(root, {"IntendedFor": "func/sub-1_dwi.nii.gz", "B0FieldIdentifier": "bold"})
    assert plan([image_of(root)], config, RESOLVED)[0].companions == ()


def test_an_image_in_fmap_that_bidsignore_lists_is_left(root: Path, tmp_path: Path) -> None:
    config = RunConfig(root, tmp_path / "out")
    field_map(root, {"IntendedFor": "dwi/sub-1_dwi.nii.gz"})
    assert len(plan([image_of(root)], config, RESOLVED)[0].companions) == 1
    (root / ".bidsignore").write_text("**/fmap/*_acq-x_*\n")
    assert plan([image_of(root)], config, RESOLVED)[0].companions == ()


def test_a_damaged_image_in_fmap_costs_only_itself(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = field_map(root, {"IntendedFor": "dwi/sub-1_dwi.nii.gz"})
    source.write_bytes(source.read_bytes()[:2000])
    with caplog.at_level(logging.WARNING):
        (job,) = harmonized([image_of(root)], root, tmp_path / "out", monkeypatch)
    assert job.finished
    assert f"{source}: " in caplog.text
    assert "harmonized without it" in caplog.text
    assert not list((tmp_path / "out/sub-1").glob("fmap/*"))


def test_the_series_of_the_same_name_is_its_own_and_a_change_of_it_counts(
    root: Path, tmp_path: Path
) -> None:
    config = RunConfig(root, tmp_path / "out")
    image = reverse(root, "sub-1_dir-PA_dwi", volumes=1)
    (alone,) = plan([image_of(root)], config, RESOLVED)
    jobs = plan([image_of(root), image], config, RESOLVED)
    assert [job.companions != () for job in jobs] == [True, False]
    assert jobs[0].hash != alone.hash
    lone = plan([image], config, RESOLVED)
    assert lone[0].action == "skip: a single volume"
