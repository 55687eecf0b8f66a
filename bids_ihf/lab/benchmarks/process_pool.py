"""Processes in which benchmarks run: one thread each, and the same results at every run."""

from __future__ import annotations

import logging
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bids_ihf.errors import TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LOGGER = logging.getLogger(__name__)


def start_worker() -> None:
    """Compute with one thread and deterministically."""
    import torch

    from bids_ihf.pipeline.process import set_up_process

    set_up_process(seed=0)
    torch.use_deterministic_algorithms(mode=True)


@contextmanager
def worker_pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes for :func:`run_tasks`.

    Raises
    ------
    TemporaryFailure
        A process was killed, most likely for lack of memory.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=start_worker)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise TemporaryFailure(
            "A process of the benchmark was killed, most likely for lack of memory; use fewer "
            "--jobs."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def run_tasks(
    pool: ProcessPoolExecutor,
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    verb: str,
) -> list[Any]:
    """Results of a function in the order of the tasks, its arguments; each is logged."""
    start = time.perf_counter()
    futures = {pool.submit(function, *task): number for number, task in enumerate(tasks)}
    results: list[Any] = [None] * len(tasks)
    for count, future in enumerate(as_completed(futures), start=1):
        number = futures[future]
        results[number] = future.result()
        label = " ".join(argument for argument in tasks[number] if isinstance(argument, str))
        seconds = time.perf_counter() - start
        LOGGER.info("%s %s (%d of %d, %.0f s)", verb, label, count, len(tasks), seconds)
    return results
