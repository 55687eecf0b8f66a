"""Failures of single images, as values that cross processes: which image, why, and the exit code.

A failure lies in the log folder of its run twice: ``crash-*.json`` for programs, and beside it
``crash-*.txt`` with the traceback for people.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import frozen

from bids_ihf.errors import OUT_OF_MEMORY_MESSAGE, CannotWrite, HarmonyError, TemporaryFailure
from bids_ihf.io.atomic import DISK_FULL_CODES, write_atomic

LOGGER = logging.getLogger(__name__)

Step = Literal["prepare", "harmonize"]

DISK_FULL_MESSAGE = (
    "{} cannot be written ({}): free some space, or name another work folder with -w."
)
UNEXPECTED_ERROR_MESSAGE = "unexpected error: {}; please report it with the crash file"
# How Python, torch and ITK say that there is no memory left.
_OUT_OF_MEMORY = re.compile(
    r"MemoryError|bad_alloc|[Cc]annot allocate memory|can't allocate memory"
)


@frozen
class Failure:
    """A step of an image that failed.

    Attributes
    ----------
    image
        Path of the image inside its dataset, with forward slashes.
    step
        ``prepare`` or ``harmonize``.
    error
        Class of the error, such as ``BadData``.
    message
        One sentence: which file, what is wrong, what to do.
    exit_code
        Documented exit code of such errors.
    """

    image: str
    step: Step
    error: str
    message: str
    exit_code: int

    @classmethod
    def of(cls, error: BaseException, image: str, step: Step) -> Failure:
        """The failure that an exception amounts to."""
        message, error_class = explain(error)
        return cls(image, step, type(error).__name__, message, error_class.exit_code)


def explain(error: BaseException) -> tuple[str, type[HarmonyError]]:
    """One sentence for the user, and the kind of error that decides on the exit code."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, HarmonyError):
        return " ".join(str(error).split()), type(error)
    if _OUT_OF_MEMORY.search(text):
        return OUT_OF_MEMORY_MESSAGE.format(text[:80]), TemporaryFailure
    if isinstance(error, OSError) and error.errno in DISK_FULL_CODES:
        reason = (error.strerror or "disk full").lower()
        return DISK_FULL_MESSAGE.format(error.filename or "the work folder", reason), CannotWrite
    return UNEXPECTED_ERROR_MESSAGE.format(text), HarmonyError


def write_failure(folder: Path, name: str, failure: Failure, traceback: str) -> None:
    """Keep a failure in a log folder as ``crash-<name>.json`` and, with its traceback, ``.txt``.

    Raises
    ------
    CannotWrite
        It cannot be written there.
    """
    text = f"{failure.image}: {failure.step} failed: {failure.message}\n\n{traceback}"
    write_atomic(folder / f"crash-{name}.txt", text.encode(errors="replace"))
    content = json.dumps(attrs.asdict(failure), indent=2)
    write_atomic(folder / f"crash-{name}.json", content.encode() + b"\n")


def read_failures(folder: Path) -> dict[Path, Failure]:
    """All failures kept in a log folder, by their text file with the traceback."""
    failures = {}
    for path in sorted(folder.glob("crash-*.json")):
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            failures[path.with_suffix(".txt")] = Failure(**content)
        except (OSError, ValueError, TypeError) as error:
            LOGGER.warning("%s: not a record of a failure (%s)", path, error)
    return failures
