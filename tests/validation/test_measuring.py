"""All scans of a study: those that cannot be used cost no others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bids_ihf.errors import BadData
from bids_ihf.validation import measuring
from bids_ihf.validation.measuring import Workers, measure_study
from bids_ihf.validation.outcomes import Outcome, Reading, Settings
from bids_ihf.validation.scans import Scan, Study, numbered
from tests.validation.test_volume_files import scan

PROFILE: Any = SimpleNamespace()


def study() -> Study:
    """Two people on two scanners, each twice on the first."""
    scans = [
        Scan(scan(f"sub-{person}_ses-{session}_T1w").image, scanner)
        for person in ("01", "02")
        for session, scanner in (("a", "GE"), ("b", "GE"), ("c", "Siemens"))
    ]
    return Study("T1w", tuple(numbered(scans)), "JSON files")


def test_repeats_are_numbered() -> None:
    assert [one.number for one in study().scans] == [0, 1, 0, 0, 1, 0]


def test_where_the_first_scan_is_bad_the_repeat_is_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = []

    def read(one: Scan, file: Path, _: Settings) -> tuple[Reading, list[Outcome]]:
        if one.name.endswith("sub-01_ses-a_T1w.nii.gz"):
            raise BadData("truncated")
        return Reading(one, file, PROFILE, np.zeros(3), (0.0, 1.0)), []

    def harmonize(reading: Reading, *task: Any) -> list[Outcome]:
        tasks.append((reading.scan.name.rpartition("/")[2][:12], *task[:2]))
        return []

    monkeypatch.setattr(measuring, "read_scan", read)
    monkeypatch.setattr(measuring, "harmonize_scan", harmonize)
    monkeypatch.setattr(measuring, "site_target", lambda scanner, references, _: len(references))
    found = measure_study(study(), ["GE"], Settings(), Workers(1, lambda: None), tmp_path)
    assert found.failures == ("truncated",)
    assert [one.number for one in found.study.scans] == [0, 0, 0, 1, 0]
    truth = {name: other for name, _, other in tasks}
    assert truth["sub-01_ses-c"].scan.name.endswith("sub-01_ses-b_T1w.nii.gz")
    assert {references for _, references, _ in tasks} == {1}
