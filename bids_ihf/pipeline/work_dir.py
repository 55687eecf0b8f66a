"""Where a run keeps its intermediate files, so that runs of the same people do not meet."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from bids_ihf.errors import CannotWrite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

WORKFLOW = "ihf_harmony_wf"


def prepare_work_dir(folder: Path) -> None:
    """Make the work folder.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    with _refusing(folder):
        (folder / WORKFLOW).mkdir(parents=True, exist_ok=True)
        if not os.access(folder / WORKFLOW, os.W_OK):
            raise PermissionError(13, "Permission denied", str(folder))


@contextmanager
def workplace(work_dir: Path, subjects: Iterable[str], run: str) -> Iterator[Path]:
    """A folder for the graph of some subjects that no other run uses meanwhile.

    It is the work folder itself, where what a killed run left is used again.  While another run is
    at one of the subjects it is a folder of this ``run`` inside, gone afterwards.

    Raises
    ------
    CannotWrite
        The work folder cannot be written.
    """
    with ExitStack() as held:
        if all(_claim(subject_folder(work_dir, subject), held) for subject in subjects):
            yield work_dir
            return
        own = work_dir / run
        held.callback(shutil.rmtree, own, ignore_errors=True)
        yield own


def subject_folder(work_dir: Path, subject: str) -> Path:
    """The folder in which nipype works on a subject."""
    return work_dir / WORKFLOW / f"sub-{subject}"


def _claim(folder: Path, held: ExitStack) -> bool:
    """Lock a folder while ``held`` lasts, or until this process ends; False if it is taken."""
    while True:
        with _refusing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        except OSError:  # some network disks have no locks
            os.close(handle)
            return True
        with suppress(OSError):
            if os.stat(folder).st_ino == os.fstat(handle).st_ino:
                held.callback(os.close, handle)
                return True
        os.close(handle)  # its last user took it away before it was locked


@contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(
            f"{folder}: cannot write there ({error.strerror}); name another work folder with -w."
        ) from error
