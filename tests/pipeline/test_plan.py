"""What is done to which image."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.sidecars import write_json
from bids_ihf.config import RunConfig
from bids_ihf.io.atomic import write_atomic
from bids_ihf.pipeline.plan import DONE, HARMONIZE, Goal, Task, plan
from tests.datasets import SCANS, write_dataset

GOAL = Goal("GE", "t", "ihf", "m", "b", ("T1w", "T2w"))


@pytest.fixture
def images(tmp_path: Path) -> list[SourceImage]:
    root = write_dataset(tmp_path / "bids")
    return [SourceImage.from_path(root / f"{stem}.nii.gz", root) for stem in SCANS]


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(tmp_path / "bids", tmp_path / "out", target="GE")


def actions(tasks: list[Task]) -> list[str]:
    return [task.action for task in tasks]


def test_actions(images: list[SourceImage], config: RunConfig) -> None:
    assert actions(plan(images, config, GOAL)) == [*5 * [HARMONIZE], "skip: the target has no dwi"]
    goal = evolve(GOAL, diffusion_hash="d")
    assert actions(plan(images, config, goal)) == 6 * [HARMONIZE]


def test_target_without_a_modality(images: list[SourceImage], config: RunConfig) -> None:
    tasks = plan(images, config, evolve(GOAL, modalities=("T1w",)))
    assert actions(tasks)[1] == "skip: the target has no T2w"
    assert actions(plan(images, config, evolve(GOAL, modalities=("any",)))).count(HARMONIZE) == 5


def test_done(images: list[SourceImage], config: RunConfig) -> None:
    task = plan(images, config, GOAL)[0]
    write_json(task.sidecar, {"ConfigurationHash": task.hash})
    assert plan(images, config, GOAL)[0].action == HARMONIZE
    write_atomic(task.outputs.harmonized, b"image")
    assert plan(images, config, GOAL)[0].action == DONE
    assert plan(images, config, evolve(GOAL, target_hash="u"))[0].action == HARMONIZE


@pytest.mark.parametrize(
    "change",
    [
        {"preprocessed": True},
        {"random_seed": 3},
        {"output_spaces": ("MNI152NLin2009aSym",)},
    ],
)
def test_hash_follows_the_numbers(
    images: list[SourceImage], config: RunConfig, change: dict[str, object]
) -> None:
    before = plan(images, config, GOAL)[0].hash
    assert plan(images, evolve(config, **change), GOAL)[0].hash != before


@pytest.mark.parametrize(
    "change",
    [
        {"n_procs": 9},
        {"omp_nthreads": 2},
        {"mem_gb": 1.0},
        {"device": "cpu"},
        {"normalization": "syn"},
        {"modalities": ("T1w",)},
        {"work_dir": Path("/elsewhere")},
        {"verbose": 3},
    ],
)
def test_hash_ignores_the_rest(
    images: list[SourceImage], config: RunConfig, change: dict[str, object]
) -> None:
    before = plan(images, config, GOAL)[0].hash
    assert plan(images, evolve(config, **change), GOAL)[0].hash == before


def test_hash_follows_normalization_where_it_counts(
    images: list[SourceImage], config: RunConfig
) -> None:
    config = evolve(config, output_spaces=("MNI152NLin2009aSym",))
    before = plan(images, config, GOAL)[0].hash
    assert plan(images, evolve(config, normalization="syn"), GOAL)[0].hash != before


def test_hash_follows_the_mask(
    images: list[SourceImage], config: RunConfig, tmp_path: Path
) -> None:
    mask = tmp_path / "mask.nii.gz"
    mask.write_bytes(b"one")
    masked = [evolve(images[0], mask=mask), *images[1:]]
    hashes = [plan(images, config, GOAL)[0].hash, plan(masked, config, GOAL)[0].hash]
    mask.write_bytes(b"two")
    hashes.append(plan(masked, config, GOAL)[0].hash)
    assert len(set(hashes)) == 3
    # The mask of a T1w image also changes the T2w image that leans on it, but no other session's.
    assert plan(masked, config, GOAL)[1].hash != plan(images, config, GOAL)[1].hash
    assert plan(masked, config, GOAL)[3].hash == plan(images, config, GOAL)[3].hash


def test_source_vendor(images: list[SourceImage], config: RunConfig) -> None:
    tasks = plan(images, evolve(config, source_vendor="ge"), GOAL)
    assert {task.image.vendor for task in tasks} == {"GE"}


def test_missing_file_is_planned_all_the_same(
    images: list[SourceImage], config: RunConfig
) -> None:
    images[0].path.unlink()
    tasks = plan(images, config, GOAL)
    assert tasks[0].action == HARMONIZE
    assert tasks[1].anchor is None


def test_series_are_redone_for_another_table_or_profile(
    images: list[SourceImage], config: RunConfig
) -> None:
    series = images[-1]
    image = evolve(
        series,
        bval=series.path.with_name("sub-02_dwi.bval"),
        bvec=series.path.with_name("sub-02_dwi.bvec"),
    )

    def identity(goal: Goal) -> str:
        return plan([image], config, goal)[0].hash

    knows = evolve(GOAL, diffusion_hash="d")
    first = identity(knows)
    assert identity(evolve(knows, target_hash="u")) == first
    assert identity(evolve(GOAL, diffusion_hash="e")) != first
    assert image.bval is not None
    image.bval.write_text("0 1005\n")
    assert identity(knows) != first


def test_series_lean_on_the_t1w_of_their_session(
    images: list[SourceImage], config: RunConfig
) -> None:
    task = plan(images, config, evolve(GOAL, diffusion_hash="d"))[-1]
    assert task.anchor is not None
    assert task.anchor.path.name == "sub-02_T1w.nii.gz"
