"""The folder of intermediate files, locked so that runs of the same subjects never meet."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bids_ihf.errors import CannotWrite

LOGGER = logging.getLogger(__name__)

WORKFLOW_NAME = "ihf_harmony_wf"


def make_work_dir(folder: Path) -> None:
    """Make the work folder.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    with _raising_cannot_create(folder):
        (folder / WORKFLOW_NAME).mkdir(parents=True, exist_ok=True)
        if not os.access(folder / WORKFLOW_NAME, os.W_OK):
            raise PermissionError(13, "Permission denied", str(folder))


@contextmanager
def locked_work_dir(work_dir: Path, subjects: Iterable[str], run_uuid: str) -> Iterator[Path]:
    """A folder for the graph of some subjects that no other run uses meanwhile.

    It is the work folder itself, where what a killed run left is used again.  While another run
    works on one of the subjects it is a folder named after this run inside it, gone afterwards.

    Raises
    ------
    CannotWrite
        The work folder cannot be written.
    """
    with ExitStack() as locks:
        if all(_acquire_lock(subject_folder(work_dir, s), locks) for s in subjects):
            yield work_dir
            return
        private = work_dir / run_uuid
        locks.callback(shutil.rmtree, private, ignore_errors=True)
        yield private


def subject_folder(work_dir: Path, subject: str) -> Path:
    """The folder in which nipype works on a subject."""
    return work_dir / WORKFLOW_NAME / workflow_name(subject)


def workflow_name(subject: str) -> str:
    """Name of a subject's workflow: nipype allows letters, digits, ``_`` and ``-``.

    BIDS 1.10 also allows ``+`` in labels, which becomes ``_``: no other label can hold that.
    """
    return f"sub-{subject.replace('+', '_')}"


def _acquire_lock(folder: Path, locks: ExitStack) -> bool:
    """Lock a folder until ``locks`` closes or the process ends; False if another run has it."""
    while True:
        with _raising_cannot_create(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        except OSError:  # a network file system without locks
            os.close(handle)
            LOGGER.warning(
                "%s: the file system has no locks; do not run the same participants twice at a "
                "time.",
                folder,
            )
            return True
        with suppress(OSError):
            if os.stat(folder).st_ino == os.fstat(handle).st_ino:
                locks.callback(os.close, handle)
                return True
        os.close(handle)  # its last user deleted it before it was locked


@contextmanager
def _raising_cannot_create(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(
            f"{folder}: cannot write there ({error.strerror}); name another work folder with -w."
        ) from error
