"""This process: its processors, threads and seed, and the one that workers are made of."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bids_ihf.io.memory import reuse_freed_memory

PRELOADED_MODULE = "bids_ihf.pipeline.preloaded"
"""What the fork server loads for all workers."""

MAX_THREADS_PER_IMAGE = 4
"""Beyond these a few seconds are gained, for 0.3 GB of each thread."""


def set_up_process(seed: int, threads: int = 1) -> None:
    """Limit threads, fix the seed of ITK, and reuse freed memory: before anything is computed.

    Libraries split sums among their threads, so that more than one thread changes the last bits;
    the network runs several batches at a time instead.
    """
    # Loaded when used: the command line asks this module for processors alone.
    from bids_ihf.preprocessing.itk import configure_itk

    reuse_freed_memory()
    configure_itk(seed)
    limit_threads(threads)


def limit_threads(threads: int) -> None:
    """Let torch, OpenMP and BLAS use at most so many threads in this process, from now on.

    What is loaded already is told directly; what is loaded later reads the environment.  ITK has
    a setting of its own, see :func:`bids_ihf.preprocessing.itk.configure_itk`.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(limits=threads)


def start_fork_server() -> None:
    """Start the process that workers are forked from, if it does not run yet; it loads all
    libraries once, meanwhile.

    A forked copy of a process with running OpenMP threads or a CUDA context hangs, and the run has
    them; so workers are forked from a process of their own, which computes nothing.
    """
    from bids_ihf.preprocessing.itk import configure_itk

    os.environ["OMP_NUM_THREADS"] = "1"  # read as libraries are loaded
    configure_itk()
    multiprocessing.get_context("forkserver").set_forkserver_preload([PRELOADED_MODULE])
    # Ctrl-C reaches it and the workers too, but ending them is for the run.
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    multiprocessing.forkserver.ensure_running()
    signal.signal(signal.SIGINT, on_interrupt)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let torch, OpenMP and BLAS use one thread for a while, in a process of someone else's.

    Also a decorator: ``@single_threaded()``.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def available_processors() -> int:
    """Processors this job may use: what SLURM granted, else the affinity mask, else all.

    ``os.cpu_count`` alone counts the whole node even where a scheduler granted two of its cores.
    """
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if granted.isdecimal() and int(granted) > 0:
        return int(granted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory_gb() -> float | None:
    """Memory this job may use, in GB, where a scheduler or container sets a limit; else None."""
    granted = os.environ.get("SLURM_MEM_PER_NODE", "")
    if granted.isdecimal() and int(granted) > 0:
        return int(granted) / 1024
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(limit) / 1024**3 if limit.isdecimal() else None
