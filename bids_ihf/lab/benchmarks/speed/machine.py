"""The machine: what it is, and how fast it multiplies and copies at best."""

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

PACKAGES = ("torch", "antspyx", "numpy", "scipy", "isal", "nipype", "pybids")
SIDE = 2048
"""Rows and columns of the matrices."""

COPIED = 2**28
"""Bytes that are copied: more than any cache holds but the very largest."""

REPEATS = 7


@frozen
class Limit:
    """Best of several: multiply-adds (single precision) and bytes of memory, per second."""

    multiply_adds: float
    bytes: float


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
        **{name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def measure_limit(device: str = "cpu") -> Limit:
    """How fast a device multiplies matrices and copies memory, at best."""
    a, b = (torch.rand(SIDE, SIDE, device=device) for _ in range(2))
    c = torch.empty_like(a)
    source = torch.zeros(COPIED // 4, device=device)
    target = torch.ones_like(source)
    multiplying = best(lambda: torch.mm(a, b, out=c), device)
    copying = best(lambda: target.copy_(source), device)
    return Limit(SIDE**3 / multiplying, 2 * COPIED / copying)


def best(run: Callable[[], Any], device: str = "cpu", repeats: int = REPEATS) -> float:
    """Least seconds of several calls after a first one."""
    return min(timed(run, device) for _ in range(repeats + 1))


def timed(run: Callable[[], Any], device: str = "cpu") -> float:
    """Seconds of one call, until the device has done its work."""
    wait(device)
    start = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - start


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize()
