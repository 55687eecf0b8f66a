"""Processors and memory that this job may use."""

from __future__ import annotations

import os
from pathlib import Path

MAX_THREADS_PER_IMAGE = 8
"""Beyond these the network and the segmentation gain nothing."""


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
