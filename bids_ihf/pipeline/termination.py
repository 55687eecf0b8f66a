"""Ending in time: a run that is told to end (SIGTERM, Ctrl-C) cleans up, and does so soon.

Slurm at a time limit, ``docker stop`` and ``kill`` send SIGTERM, and kill what has not ended some
seconds later (30 s and 10 s by default).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_TERMINATED = 128 + signal.SIGTERM
"""Exit code of a run that SIGTERM ended, as shells report it."""
MAX_CLEANUP_SECONDS = 7
"""Time (s) from the signal after which a process that is still there is killed."""
MAX_UNWINDING_SECONDS = 3
"""Time (s) of it for worker processes to remove what they have half-written."""

# A process whose only thread computes in a library (ITK, torch) runs no Python code, so none of
# its own can bound the time; that a signal came is told by the interpreter's handler in C.
_GUARD_PROGRAM = """
import os, select, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
guarded, deadline = os.getppid(), None
while True:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    if not select.select([0], [], [], left)[0]:
        break
    numbers = os.read(0, 64)
    if not numbers:
        sys.exit()
    if deadline is None and {signal.SIGINT, signal.SIGTERM} & set(numbers):
        deadline = time.monotonic() + float(sys.argv[1])
if os.getppid() == guarded:
    os.kill(guarded, signal.SIGKILL)
"""


class Terminated(SystemExit):
    """The process was told to end by SIGTERM."""


def raise_terminated(_number: int = signal.SIGTERM, _frame: FrameType | None = None) -> None:
    """Raise `Terminated`, once: what is cleaned up after it is not interrupted again."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise Terminated(EXIT_TERMINATED)


@contextmanager
def ending_in_time() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM inside, and kill this process if it does not end in time.

    The time counts from the signal, also that of Ctrl-C; in the first seconds the block can clean
    up. Outside the main thread, which alone gets signals, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    command = [sys.executable, "-I", "-S", "-c", _GUARD_PROGRAM, str(MAX_CLEANUP_SECONDS)]
    guard = subprocess.Popen(command, stdin=reader, stdout=subprocess.DEVNULL)  # noqa: S603
    os.close(reader)
    previous_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous_writer)
        os.close(writer)
        guard.kill()
        guard.wait()
