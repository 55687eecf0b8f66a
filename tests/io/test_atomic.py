from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bids_ihf.errors import CannotWrite
from bids_ihf.io.atomic import (
    STALE_AFTER_SECONDS,
    folder_lock,
    make_folder,
    open_atomic,
    remove,
    remove_stale_temporaries,
    warn_if_no_locks,
    write_atomic,
    write_once,
)

WRITERS = [write_atomic, write_once]


def failing(code: int):  # type: ignore[no-untyped-def]
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_atomic_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a b" / "c" / "file.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]


def test_once_keeps_the_first(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_once(path, b"one")
    assert not write_once(path, b"two")
    assert path.read_bytes() == b"one"


def test_exactly_one_of_many_writes_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: (n, write_once(path, str(n).encode() * 9999)), range(64)))
    winners = [n for n, wrote in won if wrote]
    assert len(winners) == 1
    assert path.read_bytes() == str(winners[0]).encode() * 9999
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("mask", [0o022, 0o007])
def test_the_umask_decides_who_may_read(tmp_path: Path, writer, mask: int) -> None:  # type: ignore[no-untyped-def]
    before = os.umask(mask)
    try:
        writer(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("call", ["open", "fsync"])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space left on device.*free some space"),
        (errno.EDQUOT, "quota.*free some space"),
        (errno.EROFS, "read-only.*another output folder"),
        (errno.EACCES, "permission denied.*another output folder"),
    ],
)
def test_failure_names_the_file_and_leaves_nothing(  # type: ignore[no-untyped-def]
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer, call: str, code: int, words: str
) -> None:
    monkeypatch.setattr(os, call, failing(code))
    with pytest.raises(CannotWrite, match=f"(?i)my file.*{words}"):
        writer(tmp_path / "my file", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "replace", failing(errno.EIO))
    with pytest.raises(CannotWrite):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_once_works_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    assert write_once(tmp_path / "file", b"one")
    assert not write_once(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    for action in (lambda p: write_atomic(p, b""), lambda p: write_once(p, b""), make_folder):
        with pytest.raises(CannotWrite, match="out/file"):
            action(tmp_path / "out" / "file")


def test_a_link_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "annexed").write_bytes(b"old")
    (tmp_path / "file").symlink_to("annexed")
    write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "annexed").read_bytes() == b"old"
    assert not (tmp_path / "file").is_symlink()


def test_interruption_removes_the_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"x")
    assert list(tmp_path.iterdir()) == []


def test_remove(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    remove(tmp_path / "file")
    remove(tmp_path / "file")
    assert not (tmp_path / "file").exists()
    with pytest.raises(CannotWrite, match="cannot be written"):
        remove(tmp_path)


def test_sweep_takes_what_nobody_writes_any_more(tmp_path: Path) -> None:
    """What is old goes; what is new, somebody's, or no temporary file, stays."""
    left, fresh, other = tmp_path / ".0a.tmp", tmp_path / ".0b.tmp", tmp_path / "a.tmp"
    for path in (left, fresh, other):
        path.write_bytes(b"half")
    old = time.time() - STALE_AFTER_SECONDS - 10
    with open_atomic(tmp_path / "file") as stream:
        stream.write(b"some")
        stream.flush()
        (held,) = {*tmp_path.glob(".*.tmp")} - {left, fresh}
        for path in (left, other, held):
            os.utime(path, (old, old))
        remove_stale_temporaries(tmp_path)
        assert held.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".0b.tmp", "a.tmp", "file"]


def test_one_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with folder_lock(tmp_path / "folder"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.01)
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert max(most) == 1
    assert len(most) == 16


def test_missing_locks_are_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    warn_if_no_locks(tmp_path)
    with folder_lock(tmp_path):
        warn_if_no_locks(tmp_path)
    assert caplog.text == ""
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    warn_if_no_locks(tmp_path)
    (record,) = caplog.records
    assert f"{tmp_path} is on a file system without file locks" in record.getMessage()
    with folder_lock(tmp_path):
        write_atomic(tmp_path / "file", b"x")
    assert len(caplog.records) == 1
