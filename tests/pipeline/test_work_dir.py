"""Intermediate files of runs that meet: the first takes the work folder, the others one inside."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from bids_ihf.errors import CannotWrite
from bids_ihf.pipeline.work_dir import locked_work_dir, make_work_dir, subject_folder


def test_runs_of_other_people_share_the_work_folder(tmp_path: Path) -> None:
    with (
        locked_work_dir(tmp_path, ["01"], "a") as one,
        locked_work_dir(tmp_path, ["02", "03"], "b") as two,
    ):
        assert one == two == tmp_path


def test_a_second_run_of_the_same_people_works_elsewhere(tmp_path: Path) -> None:
    with locked_work_dir(tmp_path, ["01", "02"], "a"):
        with locked_work_dir(tmp_path, ["02", "03"], "b") as second:
            assert second == tmp_path / "b"
            second.mkdir()
            (second / "file").touch()
        assert not second.exists()
        with locked_work_dir(
            tmp_path, ["03"], "c"
        ) as third:  # what the second could not use is free
            assert third == tmp_path
    with locked_work_dir(tmp_path, ["01"], "d") as later:
        assert later == tmp_path


def test_a_folder_that_its_last_user_takes_away_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a folder that has no name any more keeps nobody out."""
    folder = subject_folder(tmp_path, "01")
    taken: list[int] = []

    def late(handle: int, how: int) -> None:
        if not taken:
            folder.rmdir()
        taken.append(handle)
        flock(handle, how)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", late)
    with locked_work_dir(tmp_path, ["01"], "a") as place:
        assert place == tmp_path
        assert os.stat(folder).st_ino == os.fstat(taken[-1]).st_ino
    assert len(taken) == 2


def test_disks_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_handle: int, _how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with ExitStack() as stack:
        places = [stack.enter_context(locked_work_dir(tmp_path, ["01"], name)) for name in "ab"]
    assert places == [tmp_path, tmp_path]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match="another work folder"):
        make_work_dir(tmp_path / "file")
