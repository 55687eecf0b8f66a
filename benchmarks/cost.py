"""What a participant takes: time, processor time, memory and disk, and what a study would cost.

Runs ``ihf-harmony`` on the first participant of a dataset (by default of a demo dataset, 1 mm,
which it makes), in processes of its own, and prints Markdown for docs/hpc.md.  With ``--device
cuda`` the time is that for which a job holds its GPU.  Linux only.

Usage: python benchmarks/cost.py [--bids DIR] [--session ge ...] [--modalities T1w T2w]
           [--n-procs 2] [--device cpu] [--sessions 12000]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from attrs import define, field, frozen

BIN = Path(sys.executable).parent
MODALITIES = ("T1w", "T2w", "dwi")
PR_SET_CHILD_SUBREAPER = 36
PAUSE = 0.2
"""Seconds between two looks at the memory; what comes and goes in between is not seen."""


@frozen
class Cost:
    """Wall and processor time (s); the most memory of all processes together, the most that the
    work folder held, and the results (GB)."""

    seconds: float
    cpu_seconds: float
    memory_gb: float
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


def memory_kb(pid: int) -> int:
    """Memory of a process, its share of what it has in common with others (PSS)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def size_gb(folder: Path) -> float:
    """What the files of a folder hold."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # gone since it was listed
            total += path.stat().st_size if path.is_file() else 0
    return total / 1e9


@define
class Watch:
    """Notes the most memory and disk that a command takes, while it runs."""

    pid: int
    work: Path
    memory_gb: float = 0.0
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
            memory = sum(memory_kb(one) for one in descendants(self.pid)) / 1024**2
            self.memory_gb = max(self.memory_gb, memory)
            self.work_gb = max(self.work_gb, size_gb(self.work))


def measure(*words: str | Path, out: Path, work: Path) -> Cost:
    """Run a command of the package to its end and until its workers have gone."""
    before, start = processor_seconds(), time.monotonic()
    process = subprocess.Popen([BIN / words[0], *words[1:]])  # noqa: S603 - our own
    with Watch(process.pid, work) as seen:
        code = process.wait()
        seconds = time.monotonic() - start
    if code != 0:
        sys.exit(f"{words[0]} failed with code {code}; see above.")
    with suppress(ChildProcessError):
        while True:
            os.wait()
    cpu = processor_seconds() - before
    return Cost(seconds, cpu, seen.memory_gb, seen.work_gb, size_gb(out))


def images(out: Path) -> dict[str, int]:
    """How many images of each kind were harmonized."""
    ending = "_desc-harmonized_{}.json"
    return {kind: len(list(out.rglob(f"*{ending.format(kind)}"))) for kind in MODALITIES}


def table(cost: Cost, out: Path, procs: int, device: str, study: int) -> str:
    """The measurement and what it means for a study."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in images(out).items() if count)
    sessions = len(list(out.glob("sub-*/ses-*"))) or 1
    held = "GPU h" if device != "cpu" else f"h on {procs} processors" if procs > 1 else "h"
    scale = study / sessions
    hours = (cost.seconds * scale / 3600, cost.cpu_seconds * scale / 3600)
    rows = (
        ("time", f"{cost.seconds:.0f} s", f"{hours[0]:,.0f} {held}"),
        ("processor", f"{cost.cpu_seconds:.0f} s", f"{hours[1]:,.0f} CPU h"),
        ("memory", f"{cost.memory_gb:.1f} GB", ""),
        ("work folder, at most", f"{cost.work_gb * 1000:.0f} MB", ""),
        ("results", f"{cost.output_gb * 1000:.0f} MB", f"{cost.output_gb * scale / 1000:.1f} TB"),
    )
    options = f"`--n-procs {procs} --device {device}`"
    lines = (
        f"Sessions: {sessions} ({kinds}); {options}, {platform.machine()}:",
        "",
        f"| what | the run | {study:,} sessions |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bids", type=Path)
    parser.add_argument("--session", nargs="+", default=[], help="all of the participant's")
    parser.add_argument("--modalities", nargs="+", default=MODALITIES)
    parser.add_argument("--n-procs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sessions", type=int, default=12000, help="how many the study has")
    given = parser.parse_args()
    adopt_orphans()
    with tempfile.TemporaryDirectory() as scratch:
        bids, out, work = (Path(scratch) / name for name in ("bids", "out", "work"))
        if given.bids is None:
            demo = ("demo-data", bids, "--subjects", "1")
            subprocess.run([BIN / "ihf", *demo], check=True)  # noqa: S603 - our own
        else:
            bids = given.bids
        label = min(path.name for path in bids.glob("sub-*") if path.is_dir())
        chosen = ("--session-label", *given.session) if given.session else ()
        cost = measure(
            *("ihf-harmony", bids, out, "participant", "--target", "Siemens", "-w", work),
            *("--participant-label", label, *chosen, "--modalities", *given.modalities),
            *("--n-procs", str(given.n_procs), "--device", given.device),
            "--skip-bids-validation",
            out=out,
            work=work,
        )
        sys.stdout.write(table(cost, out, given.n_procs, given.device, given.sessions))


if __name__ == "__main__":
    main()
