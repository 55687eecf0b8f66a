"""Which steps a run has, and which of them wait for each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from attrs import evolve

from bids_ihf.bids.images import SourceImage
from bids_ihf.config import RunConfig
from bids_ihf.errors import BadData
from bids_ihf.pipeline import worker
from bids_ihf.pipeline.graph import build_graph
from bids_ihf.pipeline.interfaces import CorrectBias, StepContext
from bids_ihf.pipeline.job import Job, ResolvedTarget
from bids_ihf.pipeline.plan import plan
from bids_ihf.pipeline.run_log import RunLog
from tests.datasets import write_dataset

TARGET = ResolvedTarget("GE", "GE", "t-hash", "ihf", "m-hash", "b-hash", ("T1w", "T2w"))
T1W, T2W = (f"sub-01/ses-A/anat/sub-01_ses-A_{suffix}" for suffix in ("T1w", "T2w"))


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(write_dataset(tmp_path / "bids"), tmp_path / "out", n_procs=2)


def jobs_of(config: RunConfig, *names: str) -> list[Job]:
    """Jobs of images of a subject, each with 4 x 4 x 4 voxels."""
    images = []
    for name in names:
        path = config.bids_dir / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(
            nib.Nifti1Image(np.arange(64, dtype=np.float32).reshape(4, 4, 4), np.eye(4)), path
        )
        images.append(SourceImage.from_path(path, config.bids_dir, {"Manufacturer": "SIEMENS"}))
    return plan(images, config, TARGET)


def edges(config: RunConfig, jobs: list[Job]) -> set[tuple[str, str]]:
    """Pairs of steps of which the second waits for the first."""
    graph = build_graph(jobs, config, TARGET, "cpu")._create_flat_graph()
    return {
        tuple(node.name.split("_")[0] + node.name[-4:] for node in pair) for pair in graph.edges
    }


def test_a_field_is_estimated_beside_the_registration_where_a_processor_is_idle(
    config: RunConfig,
) -> None:
    t1w = jobs_of(config, T1W)
    beside = {("prepare_T1w", "harmonize_T1w"), ("correct_T1w", "harmonize_T1w")}
    assert edges(config, t1w) == beside
    assert edges(evolve(config, n_procs=1), t1w) == {("prepare_T1w", "harmonize_T1w")}
    both = jobs_of(config, T1W, T2W)
    others = {("prepare_T1w", "prepare_T2w"), ("prepare_T2w", "harmonize_T2w")}
    assert edges(config, both) == beside | others


@pytest.mark.parametrize(
    "changes", [{"preprocessed": True}, {"brain_mask": "derivatives"}, {"use_plugin": Path("p")}]
)
def test_it_is_not_where_there_is_none_or_a_mask_is_given(
    config: RunConfig, changes: dict[str, Any]
) -> None:
    changed = evolve(config, **changes)
    assert not any(
        first.startswith("correct") for first, _ in edges(changed, jobs_of(config, T1W))
    )


def test_a_field_that_fails_is_left_to_the_next_step(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BadData("no brain is found")

    monkeypatch.setattr(worker, "correct_bias", fail)
    job = jobs_of(config, T1W)[0]
    context = StepContext(job.image.relative, "01", "correct_bias", "node", RunLog.of(config))
    step = CorrectBias(context=context, image=str(job.image.path), version="0")
    result = step.run(cwd=str(tmp_path))
    assert "bias" not in result.outputs.get_traitsfree()
    assert not list(config.log_dir("01").glob("crash-*"))
