"""A part of ``python -m tests.reliability`` that is quick: some of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reliability import bad_images, bad_usage, catalogue, faults, geometry, repeats, together

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reliability.bad_usage import BadUsage

pytestmark = pytest.mark.timeout(1800)  # a run that hangs is ended, and told, by itself

FEW = ("kill -9 of the run", "output disk full", "memory runs out", "bit of a scan flipped")
GRIDS = ("axes RAS", "axes PIR", "qform code 0, sform code 0", "qform code 1, sform code 0",
         "oblique and left-handed", "thick slices")  # fmt: skip


def test_the_catalogue_is_as_large_as_promised() -> None:
    names = [(case.suffix, case.name) for case in bad_images.IMAGES]
    names += [(case.part, case.name) for case in bad_usage.USAGE]
    assert len(set(names)) == len(names) >= 100


def test_bad_images_are_refused_and_the_good_one_unharmed(tmp_path: Path) -> None:
    """All that are refused, which is quick, and a few of those that are harmonized."""
    refused = [case for case in bad_images.IMAGES if case.says]
    warned = [case for case in bad_images.IMAGES if case.warns]
    found = catalogue.judge_images([*refused, *warned], tmp_path)
    assert {one.name: one.complaints for one in found if one.complaints} == {}


@pytest.mark.parametrize(
    "case", bad_usage.USAGE[::4], ids=lambda case: f"{case.part}: {case.name}"
)
def test_bad_usage_is_refused(case: BadUsage, tmp_path: Path) -> None:
    assert catalogue.judge_usage(case, tmp_path / "case").complaints == ()


def test_faults(tmp_path: Path) -> None:
    chosen = [fault for fault, _ in faults.FAULTS if fault.name in FEW]
    assert len(chosen) == len(FEW)
    rounds = faults.harness(tmp_path / "world", chosen, 7, lambda _text: None)
    assert {one.fault: one.complaints for one in rounds if one.complaints} == {}


def test_participants_at_the_same_time(tmp_path: Path) -> None:
    assert together.participants(tmp_path, 3).complaints == ()


@pytest.mark.parametrize("targets", [together.TARGETS[:1], together.TARGETS])
def test_one_participant_twice_at_the_same_time(tmp_path: Path, targets: tuple[str, ...]) -> None:
    assert together.same(tmp_path, 2, targets, 3).complaints == ()


def test_threads_do_not_matter_and_slices_at_once_hardly(tmp_path: Path) -> None:
    threads, slices = repeats.repeats(tmp_path, ["2 threads", "3 slices at once"])
    assert threads.complaints == slices.complaints == ()
    assert threads.difference == 0
    assert slices.difference < repeats.BOUND


def test_voxels_stay_in_place(tmp_path: Path) -> None:
    chosen = [case for case in geometry.cases() if case.name in GRIDS]
    assert len(chosen) == len(GRIDS)
    assert {
        one.case: one.complaints for one in geometry.placed(tmp_path, chosen) if one.complaints
    } == {}
