"""Which scans share a mapping, and what happens where one of them fails."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.sidecars import write_json
from bids_ihf.config import RunConfig
from bids_ihf.pipeline.job import Job, ResolvedTarget
from bids_ihf.pipeline.longitudinal import without_failures
from bids_ihf.pipeline.plan import plan
from tests.datasets import write_image

TARGET = ResolvedTarget("GE", "GE", "t", "ihf", "m", "b", ("T1w", "T2w"))
PRISMA = {"ManufacturersModelName": "Prisma", "MagneticFieldStrength": 3, "EchoTime": 0.003}


def images(tmp_path: Path, **metadata: dict[str, Any]) -> list[SourceImage]:
    """Images of a participant by stem; those of an earlier session come first."""
    root = tmp_path / "bids"
    found = []
    for name, fields in metadata.items():
        session = name.split("_", 1)[0]
        path = root / f"sub-01/ses-{session}/anat/sub-01_ses-{name}.nii.gz"
        write_image(path, (8, 8, 8 + len(found)))  # no two have one content
        image = SourceImage.from_path(path, root, {"Manufacturer": "Siemens", **fields})
        found.append(image)
    return found


def planned(found: list[SourceImage], tmp_path: Path, *, longitudinal: bool = True) -> list[Job]:
    config = RunConfig(tmp_path / "bids", tmp_path / "out", longitudinal=longitudinal)
    return plan(found, config, TARGET)


def shared(job: Job) -> list[str | None]:
    return [scan.image.session for scan in job.scans]


def test_sessions_by_one_scanner_and_protocol_share_a_mapping(tmp_path: Path) -> None:
    found = images(
        tmp_path, A_T1w=PRISMA, A_T2w=PRISMA, B_T1w=PRISMA,
        C_T1w={**PRISMA, "ManufacturersModelName": "Skyra"}, D_T1w={**PRISMA, "EchoTime": 0.004},
    )  # fmt: skip
    jobs = planned(found, tmp_path)
    assert [shared(job) for job in jobs] == [["A", "B"], [], ["A", "B"], [], []]
    alone = planned(found, tmp_path, longitudinal=False)
    assert not any(job.scans for job in alone)
    same_hash = [job.hash == other.hash for job, other in zip(jobs, alone, strict=True)]
    assert same_hash == [False, True, False, True, True]
    assert jobs[0].hash != jobs[2].hash
    assert without_failures(jobs[0], {found[2].relative}) == alone[0]


def test_a_further_session_changes_what_is_done(tmp_path: Path) -> None:
    found = images(tmp_path, A_T1w=PRISMA, B_T1w=PRISMA, C_T1w=PRISMA)
    assert planned(found[:2], tmp_path)[0].hash != planned(found, tmp_path)[0].hash


def test_scans_of_no_known_scanner_are_harmonized_by_themselves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = images(tmp_path, A_T1w={}, B_T1w={})
    found = [evolve(image, vendor="unknown", metadata={}) for image in found]
    with caplog.at_level(logging.WARNING):
        jobs = planned(found, tmp_path)
    assert not any(job.scans for job in jobs)
    assert "sub-01_ses-B_T1w is harmonized by itself: its JSON file does not name" in caplog.text


def test_what_a_job_can_do_without(tmp_path: Path) -> None:
    found = images(tmp_path, A_T1w=PRISMA, A_T2w=PRISMA, B_T1w=PRISMA, B_T2w=PRISMA)
    _, first, _, second = planned(found, tmp_path)
    assert without_failures(first, set()) is None
    assert without_failures(first, {found[1].relative}) is None  # its own image
    reduced = without_failures(first, {found[2].relative})  # the T1w image of the other session
    assert reduced is not None
    assert [scan.t1w for scan in reduced.scans] == [found[0], None]
    assert (reduced.t1w, reduced.hash) == (found[0], first.hash)
    alone = without_failures(second, {found[1].relative, found[2].relative})
    assert alone is not None
    assert (alone.t1w, alone.scans) == (None, ())


def test_a_mapping_that_a_part_of_the_sessions_would_leave_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = images(tmp_path, A_T1w=PRISMA, B_T1w=PRISMA)
    (first, _) = planned(found, tmp_path)
    uris = [image.uri for image in found]
    write_json(first.sidecar, {"ConfigurationHash": first.hash, "LongitudinalScans": uris})
    write_image(first.outputs.harmonized)
    assert planned(found, tmp_path)[0].action == "skip: done"
    assert "leaves as they are" not in caplog.text
    planned(found[:1], tmp_path)
    assert "sub-01_ses-A_T1w shared a mapping with sub-01_ses-B_T1w.nii.gz" in caplog.text
