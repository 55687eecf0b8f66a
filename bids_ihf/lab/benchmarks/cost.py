"""What a participant takes: time, processor time, memory and disk, and what a study would cost.

Runs ``ihf-harmony`` on the first participant of a dataset (by default of a demo dataset, 1 mm,
which it makes), in processes of its own, and prints Markdown for docs/hpc.md.  With ``--device
cuda`` the time is that for which a job holds its GPU.  Linux only.

Usage: python -m bids_ihf.lab.benchmarks.cost [--bids DIR] [--session ge ...]
           [--modalities T1w T2w] [--n-procs 2] [--device cpu] [--sessions 12000]
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from bids_ihf.lab.benchmarks.speed.processes import BIN, Cost, adopt_orphans, measure

MODALITIES = ("T1w", "T2w", "dwi")


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
        ("memory", f"{cost.memory_gib * 1024**3 / 1e9:.1f} GB", ""),
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
