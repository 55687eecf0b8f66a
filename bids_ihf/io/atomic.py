"""Writing that is all or nothing: no reader, rerun or parallel task sees half a file."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bids_ihf.errors import CannotWrite

# File systems without hard links (FAT, some network and FUSE mounts) answer os.link with these.
_NO_HARD_LINK_CODES = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_DISK_FULL_CODES = {errno.ENOSPC, errno.EDQUOT}
_TEMPORARY_SUFFIX = ".tmp"

STALE_AFTER_SECONDS = 600.0
"""Seconds without a write after which a temporary file that nobody holds is left behind."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file, or replace it, in one step; missing folders are made.

    Raises
    ------
    CannotWrite
        The disk is full, or the place is not writable; nothing partial is left.
    """
    with open_atomic(path) as stream:
        stream.write(data)


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose content becomes the file, in one step, if the block ends without an error.

    Raises
    ------
    CannotWrite
        The disk is full, or the place is not writable; nothing partial is left.
    """
    with _raising_cannot_write(path), _temporary(path) as (temporary, stream):
        yield stream
        _flush_to_disk(stream)
        os.replace(temporary, path)


def write_once(path: Path, data: bytes) -> bool:
    """Write a file unless it is there; of many callers at once exactly one writes.

    Returns
    -------
    bool
        True if this call wrote it.

    Raises
    ------
    CannotWrite
        The disk is full, or the place is not writable; nothing partial is left.
    """
    with _raising_cannot_write(path):
        if os.path.lexists(path):
            return False
        with _temporary(path) as (temporary, stream):
            stream.write(data)
            _flush_to_disk(stream)
            return _link(temporary, path)


def remove(path: Path) -> None:
    """Delete a file if it is there.

    Raises
    ------
    CannotWrite
        It cannot be deleted.
    """
    with _raising_cannot_write(path):
        path.unlink(missing_ok=True)


def remove_stale_temporaries(folder: Path) -> None:
    """Delete the temporary files of killed processes in a folder; those at work are left alone.

    A file counts as left behind where nobody holds its lock and nothing was written to it for
    `STALE` seconds, since not every network disk knows of the locks of other machines.
    """
    for path in folder.glob(f".*{_TEMPORARY_SUFFIX}"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR)
            try:
                idle = time.time() - os.fstat(handle).st_mtime
                if idle > STALE_AFTER_SECONDS and _try_lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Let one process at a time work in a folder, which is made; others wait.

    The lock is on the folder itself and ends with the process, so none can be left behind.

    Raises
    ------
    CannotWrite
        The folder cannot be made or opened.
    """
    make_folder(folder)
    with _raising_cannot_write(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    """Lock an open file for this process, if nobody else holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises
    ------
    CannotWrite
        It cannot be made.
    """
    with _raising_cannot_write(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Give a new file in the folder of `path`, gone afterwards unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Short, so that a long name does not get too long; hidden, so that validators pass it over.
    temporary = path.with_name(f".{secrets.token_hex(8)}{_TEMPORARY_SUFFIX}")
    try:
        # Mode 0666 here and not mkstemp's 0600: the umask then decides who may read the output.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(handle, "wb") as stream:
            # Says that somebody is at work on it; ends with the process, however that ends.
            _try_lock(handle)
            yield temporary, stream
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _flush_to_disk(stream: IO[bytes]) -> None:
    """Quotas and full network disks show only here; a rename must not come before the data."""
    stream.flush()
    os.fsync(stream.fileno())


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINK_CODES:
            raise
        if os.path.lexists(path):
            return False
        os.replace(temporary, path)
    return True


@contextmanager
def _raising_cannot_write(path: Path) -> Iterator[None]:
    """Turn a failure of the file system into one sentence that names the file."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        advice = (
            "free some space"
            if error.errno in _DISK_FULL_CODES
            else "check the permissions of the folder or choose another output folder"
        )
        raise CannotWrite(f"{path} cannot be written ({reason}): {advice}.") from error
