"""Running a command: expected errors become one line and an exit code."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

from bids_ihf.errors import OUT_OF_MEMORY_MESSAGE, HarmonyError, TemporaryFailure
from bids_ihf.pipeline.termination import EXIT_TERMINATED, Terminated, ending_in_time

EXIT_CODES = {
    0: "done",
    1: "at least one image failed; the others are complete",
    2: "invalid command line",
    16: "invalid BIDS dataset",
    18: "no image selected",
    65: "unusable data",
    73: "output cannot be written",
    75: "temporary failure (e.g. GPU out of memory); re-run",
}
"""Meaning of each documented exit code."""
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE, as shells report it."""


def run_command(program: str, command: Callable[[], int], *, continues: bool = False) -> int:
    """Exit code of a command; what is expected to go wrong is one line on standard error.

    Parameters
    ----------
    program
        Name at the beginning of that line.
    command
        Reads the command line, does the work and returns an exit code.
    continues
        Whether the same command goes on where it was stopped.
    """
    try:
        with ending_in_time():
            try:
                return command()
            finally:
                sys.stdout.flush()
    except HarmonyError as error:
        sys.stderr.write(f"{program}: error: {error}\n")
        return error.exit_code
    except MemoryError:
        sys.stderr.write(f"{program}: error: {OUT_OF_MEMORY_MESSAGE.format('MemoryError')}\n")
        return TemporaryFailure.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return EXIT_INTERRUPTED
    except Terminated:
        advice = "; the same command, run again, continues" if continues else ""
        sys.stderr.write(f"{program}: terminated{advice}\n")
        return EXIT_TERMINATED
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return EXIT_BROKEN_PIPE


def _reader_is_gone() -> bool:
    """Whether nothing reads standard output any longer, as in ``ihf target list | head -1``."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
