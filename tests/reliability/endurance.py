"""Many images in one call: memory and open files on the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import psutil
from attrs import frozen

from tests.reliability import outputs, phantom, runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SUBJECTS = 50
GROWTH_MB = 50.0
"""Most that memory may grow from the second quarter of the images to the last."""


@frozen
class Endured:
    """Resident memory (MB) and open files, medians of the second and the last quarter."""

    images: int
    memory_mb: tuple[float, float]
    files: tuple[float, float]
    seconds: float
    complaints: tuple[str, ...]


def endure(folder: Path, count: int, tell: Callable[[str], None] = print) -> Endured:
    """Harmonize so many images in one call of one process."""
    subjects = [f"{number:03d}" for number in range(SUBJECTS)]
    sessions = [f"{number:02d}" for number in range(-(-count // SUBJECTS))]
    bids = phantom.write_root(folder / "bids")
    places = [(label, session) for label in subjects for session in sessions][:count]
    for number, (label, session) in enumerate(places):
        phantom.write_scan(phantom.scan_path(bids, label, session), seed=number)
    out = folder / "out"
    words = runs.participant(bids, out, folder / "work", "--target", "Siemens")
    job = runs.start(words, folder / "said")
    start = time.monotonic()
    samples = []
    process = psutil.Process(job.pid)
    while job.running:
        try:
            samples.append((_count(out), process.memory_info().rss / 2**20, process.num_fds()))
        except psutil.Error:
            break
        if len(samples) % 30 == 0:
            tell(f"{samples[-1]}")
        time.sleep(1)
    done = job.wait()
    complaints = [] if done.code == 0 else [f"exit code {done.code}: {done.err[-300:]}"]
    finished = len(outputs.finished(out, "Siemens"))
    if finished != count:
        complaints.append(f"{finished} of {count} images came out")
    table = np.array(samples, dtype=float)
    second = table[(table[:, 0] >= count / 4) & (table[:, 0] < count / 2)]
    last = table[table[:, 0] >= 3 * count / 4]
    memory = (float(np.median(second[:, 1])), float(np.median(last[:, 1])))
    files = (float(np.median(second[:, 2])), float(np.median(last[:, 2])))
    if memory[1] - memory[0] > GROWTH_MB:
        complaints.append(f"memory grew from {memory[0]:.0f} to {memory[1]:.0f} MB")
    if files[1] > files[0] + 2:
        complaints.append(f"open files grew from {files[0]:.0f} to {files[1]:.0f}")
    return Endured(count, memory, files, time.monotonic() - start, tuple(complaints))


def _count(out: Path) -> int:
    return sum(1 for _ in out.glob("sub-*/ses-*/anat/*_desc-harmonized_*.json"))
