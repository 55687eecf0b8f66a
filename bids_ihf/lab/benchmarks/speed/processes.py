"""Time, memory and disk that a command and its child processes take.  Linux only."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Self

from attrs import define, field, frozen

BIN_DIR = Path(sys.executable).parent
PR_SET_CHILD_SUBREAPER = 36
SAMPLING_INTERVAL_S = 0.4
"""Interval of samples; peaks in between are missed."""


@frozen
class ProcessCost:
    """Time, memory and disk of a command and its child processes.

    Attributes
    ----------
    seconds, cpu_seconds
        Wall and processor time.
    memory_gib, rss_gib
        Peak memory of all processes, with shared memory counted once (PSS), and in each (RSS).
    work_gb, output_gb
        Peak size of the work folder, and size of the results.
    """

    seconds: float
    cpu_seconds: float
    memory_gib: float
    rss_gib: float
    work_gb: float
    output_gb: float


def adopt_orphans() -> None:
    """Make this process the parent of orphaned grandchildren, so that it can wait for them.

    Worker processes are children of a fork server that outlives the command for a moment.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def processor_seconds() -> float:
    """Processor time (s) of all children that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def descendants(pid: int) -> list[int]:
    """A process and all its descendants."""
    pids = [pid]
    for parent in pids:  # grows while it is iterated
        for listed in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                pids += [int(child) for child in listed.read_text().split()]
    return pids


def memory_kib(pid: int) -> tuple[int, int]:
    """Proportional (PSS) and resident (RSS) set size of a process, KiB."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        return sizes.get("Pss", 0), sizes.get("Rss", 0)
    return 0, 0


def size_gb(folder: Path) -> float:
    """Total size of the files of a folder."""
    total = 0
    with suppress(OSError):  # a folder may vanish while it is listed
        for path in folder.rglob("*"):
            with suppress(OSError):
                total += path.stat().st_size if path.is_file() else 0
    return total / 1e9


@define
class SamplingThread(ABC):
    """Samples something again and again while the context lasts."""

    _ended: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLING_INTERVAL_S):
            self.sample()

    @abstractmethod
    def sample(self) -> None:
        """Take one sample."""


@define
class ResourceWatch(SamplingThread):
    """Samples the peak memory and disk usage of a command while it runs."""

    pid: int
    work: Path
    memory_gib: float = 0.0
    rss_gib: float = 0.0
    work_gb: float = 0.0

    def sample(self) -> None:
        """Memory of the command and its children, and the size of its folder."""
        sizes = [memory_kib(pid) for pid in descendants(self.pid)]
        self.memory_gib = max(self.memory_gib, sum(pss for pss, _ in sizes) / 1024**2)
        self.rss_gib = max(self.rss_gib, sum(rss for _, rss in sizes) / 1024**2)
        self.work_gb = max(self.work_gb, size_gb(self.work))


def run_and_measure(
    *arguments: str | Path, out: Path, work: Path, quiet: bool = False
) -> ProcessCost:
    """Run a command of the package until it and its workers have ended."""
    before, start = processor_seconds(), time.monotonic()
    stream = subprocess.PIPE if quiet else None
    process = subprocess.Popen(  # noqa: S603 - our own
        [BIN_DIR / arguments[0], *arguments[1:]], stdout=stream, stderr=stream, text=True
    )
    with ResourceWatch(process.pid, work) as watch:
        _, errors = process.communicate()
        seconds = time.monotonic() - start
    if process.returncode != 0:
        sys.exit(f"{errors or ''}{arguments[0]} failed with code {process.returncode}; see above.")
    with suppress(ChildProcessError):
        while True:
            os.wait()
    cpu = processor_seconds() - before
    return ProcessCost(seconds, cpu, watch.memory_gib, watch.rss_gib, watch.work_gb, size_gb(out))
