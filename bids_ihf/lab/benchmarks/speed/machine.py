"""The machine: its description, and its peak arithmetic and memory rates."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

REPORTED_PACKAGES = ("torch", "antspyx", "numpy", "scipy", "isal", "nipype")
MATRIX_SIDE = 2048
"""Rows and columns of the matrices that are multiplied."""

COPIED_BYTES = 2**28
"""Copied to measure memory bandwidth: more than all but the largest caches hold."""

LIMIT_REPEATS = 7
"""Runs beside a first one, of which the best counts."""


@frozen
class MachineLimit:
    """Best rates of several runs: single-precision multiply-adds, and bytes of memory."""

    multiply_adds_per_s: float
    bytes_per_s: float


def describe() -> dict[str, Any]:
    """Processor, memory, threads and versions."""
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in REPORTED_PACKAGES},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def measure_limit(device: str = "cpu") -> MachineLimit:
    """How fast a device multiplies matrices and copies memory, at best."""
    a, b = (torch.rand(MATRIX_SIDE, MATRIX_SIDE, device=device) for _ in range(2))
    c = torch.empty_like(a)
    source = torch.zeros(COPIED_BYTES // 4, device=device)
    target = torch.ones_like(source)
    multiplying = best(lambda: torch.mm(a, b, out=c), device)
    copying = best(lambda: target.copy_(source), device)
    return MachineLimit(MATRIX_SIDE**3 / multiplying, 2 * COPIED_BYTES / copying)


def best(run: Callable[[], Any], device: str = "cpu") -> float:
    """Shortest time (s) of several calls after a first one."""
    return min(timed(run, device) for _ in range(LIMIT_REPEATS + 1))


def timed(run: Callable[[], Any], device: str = "cpu") -> float:
    """Time (s) of one call, until the device has finished."""
    wait(device)
    start = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - start


def wait(device: str) -> None:
    """Wait until the device has finished."""
    if device != "cpu":
        torch.cuda.synchronize()
