"""Which images of a dataset a target is built from."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_ihf.errors import InvalidBIDS
from bids_ihf.pipeline.references import collect_references
from tests.datasets import write_dataset, write_image


def test_series_without_weighting_are_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_dataset(tmp_path / "bids")
    stem = root / "sub-02/dwi/sub-02_dir-PA_dwi"
    write_image(stem.with_suffix(".nii.gz"), (8, 8, 8, 2))
    stem.with_suffix(".bval").write_text("0 65\n")
    stem.with_suffix(".bvec").write_text("0 1\n0 0\n0 0\n")
    (reference,) = collect_references([root], modality="dwi", b0_threshold=80)
    assert reference.image.name == "sub-02_dwi.nii.gz"
    assert reference.b0_threshold == 80
    assert "sub-02_dir-PA_dwi.nii.gz: skip: no diffusion weighting" in caplog.text
    assert len(collect_references([root], modality="dwi")) == 2  # 65 may be a shell


def test_what_is_not_used_does_no_harm(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "bids")
    (t2w,) = root.glob("sub-01/ses-A/anat/*_T2w.nii.gz")
    t2w.with_name(t2w.name.replace(".nii.gz", ".json")).write_text("{")
    assert collect_references([root], modality="T1w")
    with pytest.raises(InvalidBIDS):
        collect_references([root], modality="T2w")
    (t1w,) = root.glob("sub-02/anat/*_T1w.nii.gz")
    t1w.unlink()
    t1w.symlink_to("not-fetched")
    (series,) = collect_references([root], modality="dwi")
    assert series.t1w is None
