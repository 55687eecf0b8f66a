"""A small BIDS dataset and stand-ins for the heavy steps, so that a run takes no time."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from bids_ihf.bids.sidecars import write_json
from bids_ihf.cli import run as run_module
from bids_ihf.errors import BadData
from bids_ihf.io.atomic import write_atomic
from bids_ihf.pipeline import worker as steps
from bids_ihf.pipeline.plan import Goal, Task
from bids_ihf.pipeline.worker import Settings
from tests.datasets import write_dataset

if TYPE_CHECKING:
    from bids_ihf.config import RunConfig

GOAL = Goal("Siemens", "target-hash", "ihf", "model-hash", "brain-hash", ("T1w", "T2w"))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two subjects: T1w and T2w with two sessions, T1w and dwi without sessions."""
    return write_dataset(tmp_path / "bids")


def fake_settings(config: RunConfig, goal: Goal = GOAL) -> Settings:
    """Settings as if network and target had been loaded."""
    return Settings(
        bids_dir=config.bids_dir,
        out_dir=config.out_dir,
        work_dir=config.work_dir,
        goal=goal,
        target="Siemens",
        device="cpu",
        cpu_if_full=True,
        batch_size=8,
        normalization="rigid",
        output_spaces=(),
        seed=0,
    )


class FakeSteps:
    """Stand-ins for the two steps; names in ``bad`` fail in preparation, in ``broken`` later."""

    def __init__(self) -> None:
        self.bad: set[str] = set()
        self.broken: set[str] = set()
        self.anchors: dict[str, str | None] = {}
        self.harmonized: list[str] = []

    def prepare(self, image: Path, output: Path, **options: object) -> None:
        if image.name in self.bad:
            raise BadData(f"{image}: truncated; fetch it again.")
        anchor = options["anchor"]
        self.anchors[image.name] = anchor.parent.name if isinstance(anchor, Path) else None
        output.write_bytes(b"prepared")

    def harmonize(self, task: Task, prepared: Path, settings: Settings, *, threads: int) -> Path:
        assert prepared.read_bytes() == b"prepared"
        assert threads >= 1
        if task.image.path.name in self.broken:
            raise RuntimeError("the sky fell")
        write_atomic(task.outputs.harmonized, b"image")
        write_json(task.sidecar, {"ConfigurationHash": task.hash})
        self.harmonized.append(task.name)
        return task.sidecar


@pytest.fixture
def fake_steps(monkeypatch: pytest.MonkeyPatch) -> FakeSteps:
    """Replace the steps, the loading of network and target, and the report."""
    fake = FakeSteps()
    monkeypatch.setattr(steps, "prepare_scan", fake.prepare)
    monkeypatch.setattr(steps, "harmonize_scan", fake.harmonize)
    monkeypatch.setattr(run_module, "make_settings", fake_settings)
    report = ModuleType("bids_ihf.reports.participant")
    report.build_participant_report = lambda *_: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bids_ihf.reports.participant", report)
    return fake


@pytest.fixture
def other_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run to another target than before."""
    goal = evolve(GOAL, name="GE", target_hash="another-hash")
    monkeypatch.setattr(run_module, "make_settings", lambda config: fake_settings(config, goal))
