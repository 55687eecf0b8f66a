"""The stages that are timed, on a slab, so that they stay in step with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bids_ihf.lab.benchmarks.speed.runs import start_times
from bids_ihf.lab.benchmarks.speed.stages import (
    Stopwatch,
    network_stages,
    output_stages,
    page_stage,
    prepare_stages,
    shape_of,
)
from bids_ihf.network.checkpoint import load_model_cached
from bids_ihf.pipeline.resources import load_target_cached
from bids_ihf.preprocessing import alignment as align
from bids_ihf.preprocessing import bias_field as bias
from bids_ihf.preprocessing import brain_mask as mask
from bids_ihf.preprocessing.alignment import Alignment
from tests.datasets import write_dataset
from tests.preprocessing.conftest import save, small_brain, small_segmentation

STAGES = (
    "index", "load", "mask", "registration", "n4", "to_network_grid", "encoder_and_curve",
    "network", "evidence", "back_projection", "head", "compression", "writing",
    "compression_and_writing", "figures", "report",
)  # fmt: skip


def test_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = Alignment(np.eye(4), 0.9, 1.0)
    monkeypatch.setattr(mask, "segment", lambda *_: small_segmentation())
    monkeypatch.setattr(align, "align_to_template", lambda _: found)
    monkeypatch.setattr(bias, "bias_field", lambda data, *_: np.ones_like(data))
    root = write_dataset(tmp_path / "bids")
    brain, grid, _ = small_brain()
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * 25
    path = root / "sub-01/ses-A/anat/sub-01_ses-A_T1w.nii.gz"
    save(path, brain[:, :, 25:28], affine)
    watch = Stopwatch(1)
    prepared = prepare_stages(watch, root, path)
    profile = load_target_cached("Siemens").profile("T1w")
    case, harmonized = network_stages(watch, prepared, profile, load_model_cached("cpu"))
    assert 6 <= len(case.slices) <= 12
    assert (
        harmonized.image.shape == brain[:, :, 25:28].shape == tuple(shape_of(prepared)["voxels"])
    )
    output_stages(watch, prepared, harmonized, tmp_path)
    assert (tmp_path / "image.nii.gz").is_file()
    page_stage(watch, tmp_path, "01")
    assert tuple(watch.seconds) == tuple(f"{stage}_s" for stage in STAGES)


def test_commands_start() -> None:
    found = start_times(1)
    assert set(found) == {"ihf_harmony_version_s", "ihf_harmony_help_s", "ihf_version_s"}
    assert all(seconds > 0 for seconds in found.values())
