"""What a run says at its end."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bids_ihf.cli import summary
from bids_ihf.config import RunConfig
from bids_ihf.pipeline.job import HARMONIZE_ACTION
from bids_ihf.pipeline.participants import Result
from tests.reports.conftest import add_image


class Kept(logging.Handler):
    """Keeps what one logger says, whatever handlers others have."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[logging.LogRecord]:
    handler, logger = Kept(), logging.getLogger(f"{summary.__name__}.kept")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    monkeypatch.setattr(summary, "LOGGER", logger)
    return handler.records


def test_images_to_look_at_are_named(tmp_path: Path, said: list[logging.LogRecord]) -> None:
    fine = add_image(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    flagged = add_image(tmp_path, "sub-01/anat/sub-01_T2w.nii.gz", HarmonizationWarning="Far.")
    of_before = {"distance_after": 9.0}
    add_image(tmp_path, "sub-01/anat/sub-01_run-2_T1w.nii.gz", measures=of_before)
    jobs: Any = [
        SimpleNamespace(sidecar=path, action=HARMONIZE_ACTION, image=SimpleNamespace(subject="01"))
        for path in (fine, flagged)
    ]
    results = [Result(job, harmonized=True) for job in jobs]
    config = RunConfig(tmp_path, tmp_path)
    tally = summary.Tally()
    tally.add(jobs, results)
    summary.log_flagged(results, config)
    summary.close(tally, config)
    look, counts = (record.getMessage() for record in said)
    assert look == f"Inspect sub-01_T2w: {tmp_path / 'sub-01.html'}"
    assert counts.startswith("2 harmonized, 0 already done, 0 failed, 0 not processed.")
    assert not any(record.levelno >= logging.WARNING for record in said)
