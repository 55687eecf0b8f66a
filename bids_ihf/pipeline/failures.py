"""From nipype's crash files to the one sentence a user needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf import errors

if TYPE_CHECKING:
    from pathlib import Path

_NODE = re.compile(r"^Node: (?:[^\n]*\.)?([\w-]+)$", re.MULTILINE)
_EXPECTED = re.compile(r"^\s*bids_ihf\.errors\.(\w+): (.+)$", re.MULTILINE)
# How Python, torch and ITK say that there is no memory, and the system that a disk is full.
_MEMORY = re.compile(r"MemoryError|bad_alloc|[Cc]annot allocate memory|can't allocate memory")
_DISK = re.compile(r"OSError: \[Errno (?:28|122)\] ([^:\n]+)(?:: '?([^'\n]+)'?)?$")
DISK_FULL = "{} cannot be written ({}): free some space, or name another work folder with -w."
UNEXPECTED = "unexpected error: {}; please report it with the crash file"
# What nipype writes of a cluster's job that left no result, and below the traceback of any job.
_NO_RESULT = "results file does not exist"
_REMARK = "When creating this crashfile"
JOB_ENDED = (
    "the job of this step ended without a result, most likely for want of memory or time; "
    "ask for more in the plugin's sbatch_args and run again."
)


@frozen
class Failure:
    """A node that failed: its name, what to tell the user, the exit code, the crash file."""

    node: str
    sentence: str
    exit_code: int
    crash_file: Path


def explain(traceback: str) -> tuple[str, int]:
    """Sentence and exit code of a traceback: our own error if there is one, else its last line."""
    expected = _EXPECTED.findall(traceback)
    if expected:
        name, sentence = expected[-1]
        kind = getattr(errors, name, errors.HarmonyError)
        return sentence.strip(), int(kind.exit_code)
    if _NO_RESULT in traceback:
        return JOB_ENDED, errors.TemporaryFailure.exit_code
    lines = [line.strip() for line in traceback.partition(_REMARK)[0].splitlines() if line.strip()]
    return _of_line(lines[-1] if lines else "no traceback")


def _of_line(last: str) -> tuple[str, int]:
    """Sentence and exit code of an error that is not our own."""
    if _MEMORY.search(last):
        return errors.OUT_OF_MEMORY_MESSAGE.format(last[:80]), errors.TemporaryFailure.exit_code
    full = _DISK.search(last)
    if full:
        sentence = DISK_FULL.format(full[2] or "the work folder", full[1].lower())
        return sentence, errors.CannotWrite.exit_code
    return UNEXPECTED.format(last), errors.HarmonyError.exit_code


def read_crash(path: Path) -> Failure:
    """What a crash file in text form says."""
    text = path.read_text(encoding="utf-8", errors="replace")
    node = _NODE.search(text)
    sentence, code = explain(text)
    return Failure(node[1] if node else path.stem, sentence, code, path)


def failures(log_dir: Path) -> dict[str, Failure]:
    """All failures of a run in a subject's log folder, by node; the latest of each."""
    found = sorted(log_dir.glob("crash-*.txt"), key=lambda path: path.stat().st_mtime)
    return {failure.node: failure for failure in map(read_crash, found)}
