"""What can go wrong in a way a user can mend, each with its documented exit code.

A message is one sentence: which file, what is wrong, what to do.
"""

from __future__ import annotations

from typing import ClassVar


class HarmonyError(Exception):
    """An expected failure; shown to the user as one line, without a traceback."""

    exit_code: ClassVar[int] = 1


class UsageError(HarmonyError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class InvalidBIDS(HarmonyError):
    """The input dataset does not follow BIDS."""

    exit_code = 16


class NothingSelected(HarmonyError):
    """The filters leave no image to work on."""

    exit_code = 18


class BadData(HarmonyError):
    """A file is there but cannot be used."""

    exit_code = 65


class CannotWrite(HarmonyError):
    """An output cannot be written."""

    exit_code = 73


class TemporaryFailure(HarmonyError):
    """A passing trouble, such as a full GPU; the same call may succeed later."""

    exit_code = 75


OUT_OF_MEMORY_MESSAGE = (
    "there was not memory enough for it ({}); give more, or run again with a smaller --n-procs."
)
"""What to tell where memory ran out; the gap is for how that showed."""
