"""Which images of a dataset a target is built from."""

from __future__ import annotations

from pathlib import Path

import pytest

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
