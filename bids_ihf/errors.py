"""Errors that a user can resolve, each with its documented exit code.

A message is one sentence: which file, what is wrong, what to do.
"""

from __future__ import annotations

from typing import ClassVar


class HarmonyError(Exception):
    """An expected failure, shown to the user as one line without a traceback."""

    exit_code: ClassVar[int] = 1


class UsageError(HarmonyError):
    """The command line is invalid or asks for something impossible."""

    exit_code = 2


class InvalidBIDS(HarmonyError):
    """The input dataset does not follow BIDS."""

    exit_code = 16


class NothingSelected(HarmonyError):
    """The filters select no image."""

    exit_code = 18


class BadData(HarmonyError):
    """A file exists but cannot be used."""

    exit_code = 65


class CannotWrite(HarmonyError):
    """An output cannot be written."""

    exit_code = 73


class TemporaryFailure(HarmonyError):
    """A temporary failure, such as a full GPU; the same command may succeed later."""

    exit_code = 75


OUT_OF_MEMORY_MESSAGE = "not enough memory ({}); provide more, or re-run with a smaller --n-procs."
"""Message where memory ran out; the gap is for the error that showed it."""
