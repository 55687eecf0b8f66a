"""What a session takes: time, processor time and memory of one run, and what a study would cost.

Runs ``ihf-harmony`` on one session of a dataset (by default of a demo dataset, 1 mm, which it
makes), in a process of its own, and prints Markdown for docs/hpc.md.  With ``--device cuda`` the
time is that for which a job holds its GPU.

Usage: python benchmarks/cost.py [--bids DIR] [--session ge] [--device cpu] [--sessions 12000]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from attrs import frozen

BIN = Path(sys.executable).parent


@frozen
class Cost:
    """Wall time and processor time in seconds, and the most memory of one process in GB."""

    seconds: float
    cpu_seconds: float
    memory_gb: float


def measure(*words: str | Path) -> Cost:
    """Run a command of the package to its end."""
    start = time.monotonic()
    path = BIN / str(words[0])
    pid = os.posix_spawn(path, [str(word) for word in (path, *words[1:])], os.environ)
    _, status, used = os.wait4(pid, 0)
    if status != 0:
        sys.exit(f"{words[0]} failed with code {os.waitstatus_to_exitcode(status)}; see above.")
    cpu = used.ru_utime + used.ru_stime
    return Cost(time.monotonic() - start, cpu, used.ru_maxrss / 1024**2)


def images(bids: Path, session: str) -> dict[str, int]:
    """How many T1w and T2w images a session of the first participant has."""
    folder = min(bids.glob("sub-*")) / f"ses-{session}"
    return {suffix: len(list(folder.glob(f"anat/*_{suffix}.nii*"))) for suffix in ("T1w", "T2w")}


def run(bids: Path, session: str, device: str, scratch: Path) -> Cost:
    """Harmonize one session of the first participant with one processor."""
    label = min(bids.glob("sub-*")).name
    return measure(
        *("ihf-harmony", bids, scratch / "out", "participant", "--target", "Siemens"),
        *("--participant-label", label, "--session-label", session, "-w", scratch / "work"),
        *("--n-procs", "1", "--device", device, "--skip-bids-validation"),
    )


def table(cost: Cost, counts: dict[str, int], device: str, sessions: int) -> str:
    """The measurement and what it means for a study."""
    kinds = " and ".join(f"{count} {suffix}" for suffix, count in counts.items() if count)
    held = "GPU-hours" if device != "cpu" else "hours on one processor"
    hours = sessions / 3600
    return "\n".join(
        (
            f"One session ({kinds}), `--device {device}`, one processor of {platform.machine()}:",
            "",
            f"| what | one session | {sessions:,} sessions |",
            "|---|---|---|",
            f"| processor | {cost.cpu_seconds:.0f} s | {cost.cpu_seconds * hours:,.0f} CPU h |",
            f"| time | {cost.seconds:.0f} s | {cost.seconds * hours:,.0f} {held} |",
            f"| memory | {cost.memory_gb:.1f} GB | |",
            "",
        )
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bids", type=Path)
    parser.add_argument("--session", default="ge")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sessions", type=int, default=12000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bids = given.bids or Path(scratch) / "bids"
        if given.bids is None:
            measure("ihf", "demo-data", bids, "--subjects", "1")
        cost = run(bids, given.session, given.device, Path(scratch))
        sys.stdout.write(table(cost, images(bids, given.session), given.device, given.sessions))


if __name__ == "__main__":
    main()
