"""What a run says at its end."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bids_ihf.cli import summary
from bids_ihf.workflow.plan import HARMONIZE
from tests.report.conftest import add_image


def test_images_to_look_at_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("bids_ihf"), "propagate", True)
    caplog.set_level(logging.INFO, logger="bids_ihf")
    fine = add_image(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    flagged = add_image(tmp_path, "sub-01/anat/sub-01_T2w.nii.gz", HarmonizationWarning="Far.")
    of_before = {"distance_after": 9.0}
    add_image(tmp_path, "sub-01/anat/sub-01_run-2_T1w.nii.gz", measures=of_before)
    tasks: Any = [
        SimpleNamespace(sidecar=path, action=HARMONIZE, image=SimpleNamespace(subject="01"))
        for path in (fine, flagged)
    ]
    outcome: Any = SimpleNamespace(harmonized=tasks, failed=())
    config: Any = SimpleNamespace(out_dir=tmp_path)
    summary.close(tasks, outcome, config)
    said = [record for record in caplog.records if record.name == summary.__name__]
    look, counts = (record.getMessage() for record in said)
    assert look == f"Look at sub-01_T2w: {tmp_path / 'sub-01.html'}"
    assert counts.startswith("2 harmonized, 0 already done, 0 failed, 0 not processed.")
    assert not any(record.levelno >= logging.WARNING for record in said)
