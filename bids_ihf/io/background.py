"""Work beside other work, where an image has more than one processor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def start(work: Callable[[], Result], *, threads: int) -> Callable[[], Result]:
    """Start a function in a thread of its own, and return what waits for its result.

    With one thread it runs when its result is asked for.  Either way the function runs once and
    alone, so that its result is the same to the bit.

    Parameters
    ----------
    work
        The function; it should spend its time in libraries that let other threads run.
    threads
        Threads that the caller may use.

    Examples
    --------
    >>> sums = [start(lambda: sum(range(4)), threads=threads) for threads in (1, 2)]
    >>> [result() for result in sums]
    [6, 6]
    """
    if threads < 2:
        return work
    with_thread = ThreadPoolExecutor(1, "background")
    future = with_thread.submit(work)
    with_thread.shutdown(wait=False)
    return future.result
