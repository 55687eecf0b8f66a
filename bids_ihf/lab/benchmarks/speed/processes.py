"""Run a command to its end and note what it, its children and theirs take.  Linux only."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from attrs import define, field, frozen

BIN = Path(sys.executable).parent
PR_SET_CHILD_SUBREAPER = 36
PAUSE = 0.4
"""Seconds between two looks at the memory; what comes and goes in between is not seen."""


@frozen
class Cost:
    """Wall and processor time (s), memory and disk of a command.

    memory_gib: the most of all processes together, what they share counted once; rss_gib: counted
    in each of them.  work_gb: the most that the work folder held; output_gb: the results.
    """

    seconds: float
    cpu_seconds: float
    memory_gib: float
    rss_gib: float
    work_gb: float
    output_gb: float


def adopt_orphans() -> None:
    """Make this process the parent of what its children leave behind, and so able to wait for it.

    Worker processes are children of a fork server that outlives the command for a moment.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def processor_seconds() -> float:
    """Processor time of all children that have ended and been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def descendants(pid: int) -> list[int]:
    """A process, its children, and theirs."""
    found = [pid]
    for parent in found:  # grows while it is read
        for listed in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(child) for child in listed.read_text().split()]
    return found


def memory_kib(pid: int) -> tuple[int, int]:
    """Memory of a process: its share of what it has in common with others (PSS), and all (RSS)."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        return sizes.get("Pss", 0), sizes.get("Rss", 0)
    return 0, 0


def size_gb(folder: Path) -> float:
    """What the files of a folder hold."""
    total = 0
    with suppress(OSError):  # a folder is gone since it was listed
        for path in folder.rglob("*"):
            with suppress(OSError):
                total += path.stat().st_size if path.is_file() else 0
    return total / 1e9


@define
class Watch:
    """Notes the most memory and disk that a command takes, while it runs."""

    pid: int
    work: Path
    memory_gib: float = 0.0
    rss_gib: float = 0.0
    work_gb: float = 0.0
    _ended: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(PAUSE):
            sizes = [memory_kib(one) for one in descendants(self.pid)]
            self.memory_gib = max(self.memory_gib, sum(pss for pss, _ in sizes) / 1024**2)
            self.rss_gib = max(self.rss_gib, sum(rss for _, rss in sizes) / 1024**2)
            self.work_gb = max(self.work_gb, size_gb(self.work))


def measure(*words: str | Path, out: Path, work: Path, quiet: bool = False) -> Cost:
    """Run a command of the package to its end and until its workers have gone."""
    before, start = processor_seconds(), time.monotonic()
    kept = subprocess.PIPE if quiet else None
    process = subprocess.Popen(  # noqa: S603 - our own
        [BIN / words[0], *words[1:]], stdout=kept, stderr=kept, text=True
    )
    with Watch(process.pid, work) as seen:
        _, said = process.communicate()
        seconds = time.monotonic() - start
    if process.returncode != 0:
        sys.exit(f"{said or ''}{words[0]} failed with code {process.returncode}; see above.")
    with suppress(ChildProcessError):
        while True:
            os.wait()
    cpu = processor_seconds() - before
    return Cost(seconds, cpu, seen.memory_gib, seen.rss_gib, seen.work_gb, size_gb(out))
