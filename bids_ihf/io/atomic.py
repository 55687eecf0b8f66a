"""Atomic writing: no reader, rerun or parallel job ever sees half a file."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bids_ihf.errors import CannotWrite

LOGGER = logging.getLogger(__name__)

STALE_AFTER_SECONDS = 600.0
"""Age (s) of the last write from which on an unlocked temporary file counts as abandoned."""

_TEMPORARY_SUFFIX = ".tmp"
DISK_FULL_CODES = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Codes of the system for a full disk or quota."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write or replace a file in one step, creating missing folders.

    Raises
    ------
    CannotWrite
        The disk is full or the folder is not writable; nothing partial remains.
    """
    with open_atomic(path) as stream:
        stream.write(data)


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """Yield a stream whose content replaces `path` if the block ends without an error.

    Raises
    ------
    CannotWrite
        The disk is full or the folder is not writable; nothing partial remains.
    """
    with _raising_cannot_write(path), _temporary_file(path) as (temporary, stream):
        yield stream
        _flush_to_disk(stream)
        os.replace(temporary, path)


def write_once(path: Path, data: bytes) -> bool:
    """Write a file unless it exists; of many concurrent callers exactly one writes.

    Returns
    -------
    bool
        True if this call wrote the file.

    Raises
    ------
    CannotWrite
        The disk is full or the folder is not writable; nothing partial remains.
    """
    with _raising_cannot_write(path):
        if os.path.lexists(path):
            return False
        with _temporary_file(path) as (temporary, stream):
            stream.write(data)
            _flush_to_disk(stream)
            return _link(temporary, path)


def remove(path: Path) -> None:
    """Delete a file if it exists.

    Raises
    ------
    CannotWrite
        It cannot be deleted.
    """
    with _raising_cannot_write(path):
        path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and its parents.

    Raises
    ------
    CannotWrite
        It cannot be made.
    """
    with _raising_cannot_write(path):
        path.mkdir(parents=True, exist_ok=True)


def remove_stale_temporaries(folder: Path) -> None:
    """Delete the temporary files of killed processes in a folder, not those in use.

    A file is abandoned if no process locks it and it was not written to for
    `STALE_AFTER_SECONDS`: not every network file system shows the locks of other machines.
    """
    for path in folder.glob(f".*{_TEMPORARY_SUFFIX}"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR)
            try:
                idle_seconds = time.time() - os.fstat(handle).st_mtime
                if idle_seconds > STALE_AFTER_SECONDS:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            finally:
                os.close(handle)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Let one process at a time work in a folder, which is made if missing; others wait.

    The lock is on the folder itself and ends with the process, so none is left behind.  On a file
    system without locks there is no waiting; see `warn_if_no_locks`.

    Raises
    ------
    CannotWrite
        The folder cannot be made or opened.
    """
    with _open_folder(folder) as handle:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def warn_if_no_locks(folder: Path) -> None:
    """Log a warning if the file system of a folder, which is made if missing, has no file locks.

    Raises
    ------
    CannotWrite
        The folder cannot be made or opened.
    """
    with _open_folder(folder) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:
            LOGGER.warning(
                "%s is on a file system without file locks (%s): do not process the same "
                "participant in two jobs at the same time.",
                folder,
                error.strerror,
            )


@contextmanager
def _open_folder(folder: Path) -> Iterator[int]:
    make_folder(folder)
    with _raising_cannot_write(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _temporary_file(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Yield a new file in the folder of `path`, deleted afterwards unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Short, so that the name is never too long; hidden, so that BIDS validators ignore it.
    temporary = path.with_name(f".{secrets.token_hex(8)}{_TEMPORARY_SUFFIX}")
    try:
        # Mode 0666 and not the 0600 of mkstemp: the umask decides who may read the output.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(handle, "wb") as stream:
            # Marks the file as in use; the lock ends with the process, however that ends.
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield temporary, stream
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


def _flush_to_disk(stream: IO[bytes]) -> None:
    """Write all data to disk before the rename; quota and full-disk errors may show only here."""
    stream.flush()
    os.fsync(stream.fileno())


def _link(temporary: Path, path: Path) -> bool:
    """Give the temporary file its final name unless that exists; True if it was given."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # FAT, some network and FUSE mounts have no hard links
        if os.path.lexists(path):
            return False
        os.replace(temporary, path)
    return True


@contextmanager
def _raising_cannot_write(path: Path) -> Iterator[None]:
    """Turn an OSError into a CannotWrite of one sentence that names the file."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        advice = "check the permissions of the folder or choose another output folder"
        if error.errno in DISK_FULL_CODES:
            advice = "free some space"
        elif error.errno == errno.ENAMETOOLONG:
            advice = "shorten the name of the source image, of which this one is made"
        raise CannotWrite(f"{path} cannot be written ({reason}): {advice}.") from error
