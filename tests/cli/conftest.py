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
from bids_ihf.pipeline import worker
from bids_ihf.pipeline.image_files import ImageFiles
from bids_ihf.pipeline.job import Job, ResolvedTarget
from tests.datasets import write_dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.config import RunConfig

TARGET = ResolvedTarget(
    "Siemens", "Siemens", "target-hash", "ihf", "model-hash", "brain-hash", ("T1w", "T2w")
)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two subjects: T1w and T2w with two sessions, T1w and dwi without sessions."""
    return write_dataset(tmp_path / "bids")


class FakeSteps:
    """Stand-ins for the two steps; names in ``bad`` fail in preparation, in ``broken`` later."""

    def __init__(self) -> None:
        self.bad: set[str] = set()
        self.broken: set[str] = set()
        self.t1w: dict[str, str | None] = {}
        self.harmonized: list[str] = []

    def prepare(self, files: ImageFiles, output: Path, **options: object) -> None:
        image = files.image
        if image.name in self.bad:
            raise BadData(f"{image}: truncated; fetch it again.")
        t1w = options["t1w"]
        self.t1w[image.name] = t1w.parent.name if isinstance(t1w, Path) else None
        output.write_bytes(b"prepared")

    def harmonize(
        self, job: Job, prepared: Path, config: RunConfig, target: ResolvedTarget, *,
        threads: int, scans: Sequence[Path],
    ) -> None:  # fmt: skip
        assert prepared.read_bytes() == b"prepared"
        assert len(scans) == len(job.scans)
        assert not scans or scans[[s.image for s in job.scans].index(job.image)] == prepared
        assert threads >= 1
        if job.image.path.name in self.broken:
            raise RuntimeError("the sky fell")
        write_atomic(job.outputs.harmonized, b"image")
        content = {"Sources": [job.image.uri], "SourceHash": job.source_hash}
        write_json(job.sidecar, {**content, "ConfigurationHash": job.hash})
        self.harmonized.append(job.name)


@pytest.fixture
def fake_steps(monkeypatch: pytest.MonkeyPatch) -> FakeSteps:
    """Replace the steps, the loading of network and target, and the report."""
    fake = FakeSteps()
    monkeypatch.setattr(worker, "prepare_image", fake.prepare)
    monkeypatch.setattr(worker, "harmonize_image", fake.harmonize)
    monkeypatch.setattr(run_module, "resolve_target", lambda _config: TARGET)
    report = ModuleType("bids_ihf.reports.participant")
    report.build_participant_report = lambda *_: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bids_ihf.reports.participant", report)
    return fake


@pytest.fixture
def other_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run to another target than before."""
    target = evolve(TARGET, name="GE", target_hash="another-hash")
    monkeypatch.setattr(run_module, "resolve_target", lambda _config: target)
