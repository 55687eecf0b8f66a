"""Cost of a participant and of a study: time, processor time, memory and disk.

Runs ``ihf-harmony`` on the first participant of a dataset (by default of a demo dataset of 1 mm,
which it makes), in processes of its own, and prints Markdown for docs/hpc.md.  With ``--device
cuda`` the time is that for which a job occupies its GPU.  Linux only.

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

from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.lab.benchmarks.speed.processes import (
    BIN_DIR,
    ProcessCost,
    adopt_orphans,
    run_and_measure,
)
from bids_ihf.lab.benchmarks.tables import markdown_table


def count_images(out: Path) -> dict[str, int]:
    """Number of harmonized images by modality."""
    return {
        modality: len(list(out.rglob(f"*_desc-harmonized_{modality}.json")))
        for modality in IMAGE_SUFFIXES
    }


def cost_table(cost: ProcessCost, out: Path, processes: int, device: str, study: int) -> str:
    """The measurement, and what it means for a study of so many sessions."""
    counts = ", ".join(f"{n} {modality}" for modality, n in count_images(out).items() if n)
    sessions = len(list(out.glob("sub-*/ses-*"))) or 1
    if device != "cpu":
        unit = "GPU h"
    else:
        unit = f"h on {processes} processors" if processes > 1 else "h"
    scale = study / sessions
    hours, cpu_hours = (seconds * scale / 3600 for seconds in (cost.seconds, cost.cpu_seconds))
    rows = (
        ("time", f"{cost.seconds:.0f} s", f"{hours:,.0f} {unit}"),
        ("processor", f"{cost.cpu_seconds:.0f} s", f"{cpu_hours:,.0f} CPU h"),
        ("memory", f"{cost.memory_gib * 1024**3 / 1e9:.1f} GB", ""),
        ("work folder, at most", f"{cost.work_gb * 1000:.0f} MB", ""),
        ("results", f"{cost.output_gb * 1000:.0f} MB", f"{cost.output_gb * scale / 1000:.1f} TB"),
    )
    options = f"`--n-procs {processes} --device {device}`"
    caption = f"Sessions: {sessions} ({counts}); {options}, {platform.machine()}:\n\n"
    return caption + markdown_table(("what", "the run", f"{study:,} sessions"), rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.cost", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--bids", type=Path, metavar="DIR", help="dataset (default: a new demo dataset)")
    add("--session", nargs="+", default=[], metavar="LABEL", help="(default: all)")
    add("--modalities", nargs="+", default=IMAGE_SUFFIXES, metavar="MOD", help="(default: all)")
    add("--n-procs", type=int, default=1, metavar="N", help="processes (default: 1)")
    add("--device", default="cpu", help="cpu (default) or cuda")
    add("--sessions", type=int, default=12000, metavar="N", help="of the study (default: 12000)")
    arguments = parser.parse_args()
    adopt_orphans()
    with tempfile.TemporaryDirectory() as scratch:
        bids, out, work = (Path(scratch) / name for name in ("bids", "out", "work"))
        if arguments.bids is None:
            demo = ("demo-data", bids, "--subjects", "1")
            subprocess.run([BIN_DIR / "ihf", *demo], check=True)  # noqa: S603 - our own
        else:
            bids = arguments.bids
        label = min(path.name for path in bids.glob("sub-*") if path.is_dir())
        session = ("--session-label", *arguments.session) if arguments.session else ()
        cost = run_and_measure(
            *("ihf-harmony", bids, out, "participant", "--target", "Siemens", "-w", work),
            *("--participant-label", label, *session, "--modalities", *arguments.modalities),
            *("--n-procs", str(arguments.n_procs), "--device", arguments.device),
            "--skip-bids-validation",
            out=out,
            work=work,
        )
        processes, device = arguments.n_procs, arguments.device
        sys.stdout.write(cost_table(cost, out, processes, device, arguments.sessions))


if __name__ == "__main__":
    main()
