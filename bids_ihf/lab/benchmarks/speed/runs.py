"""Whole commands, in processes of their own: participants, start-up, large datasets."""

from __future__ import annotations

import shutil
import subprocess
from statistics import median
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bids_ihf.lab.benchmarks.speed.inputs import make_crowd, make_slabs
from bids_ihf.lab.benchmarks.speed.machine import timed
from bids_ihf.lab.benchmarks.speed.processes import BIN, Cost, measure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

TARGET = "Siemens"
STARTS = {
    "ihf_harmony_version": ("ihf-harmony", "--version"),
    "ihf_harmony_help": ("ihf-harmony", "--help"),
    "ihf_version": ("ihf", "--version"),
}


@frozen
class Runner:
    """``ihf-harmony`` on ``cores`` processors, with a scratch folder for what it writes."""

    scratch: Path
    cores: int
    device: str = "cpu"

    def __call__(self, bids: Path, *options: str) -> Cost:
        """Run the participant level into a new output folder, :attr:`out`."""
        work = self.scratch / "work"
        for folder in (self.out, work):
            shutil.rmtree(folder, ignore_errors=True)
        return measure(
            "ihf-harmony", bids, self.out, "participant", "--target", TARGET, "-w", work,
            "--n-procs", str(self.cores), "--device", self.device, *options,
            out=self.out, work=work, quiet=True,
        )  # fmt: skip

    @property
    def out(self) -> Path:
        """Where the latest run has written."""
        return self.scratch / "out"


def participants(run: Runner, bids: Path, repeats: int) -> dict[str, Any]:
    """A participant with a T1w, several times, and one with T1w, T2w and diffusion, once; input
    validated."""
    small = [run(bids, "--modalities", "T1w") for _ in range(repeats)]
    whole = run(bids)
    return {
        "participant_T1w_s": median(cost.seconds for cost in small),
        "participant_T1w_rounds_s": [cost.seconds for cost in small],
        "participant_T1w_cpu_s": median(cost.cpu_seconds for cost in small),
        "participant_peak_rss_gib": max(cost.rss_gib for cost in small),
        "participant_peak_pss_gib": max(cost.memory_gib for cost in small),
        "participant_T1w_T2w_dwi_s": whole.seconds,
        "participant_T1w_T2w_dwi_cpu_s": whole.cpu_seconds,
        "participant_T1w_T2w_dwi_peak_rss_gib": whole.rss_gib,
        "participant_T1w_T2w_dwi_peak_pss_gib": whole.memory_gib,
    }


def starts(repeats: int) -> dict[str, float]:
    """Seconds until a command that does nothing has answered."""
    found = {}
    for name, (command, *options) in STARTS.items():

        def run(words: Sequence[str] = (str(BIN / command), *options)) -> None:
            subprocess.run(words, check=True, capture_output=True)  # noqa: S603 - our own

        run()
        found[f"{name}_s"] = median(timed(run) for _ in range(repeats))
    return found


def crowd(run: Runner, people: int) -> dict[str, float]:
    """Finding all images of a large dataset and planning them, and those of one participant."""
    bids = make_crowd(run.scratch / "crowd", people)
    dry = ("--dry-run", "--skip-bids-validation", "--modalities", "T1w", "T2w")
    one = run(bids, *dry, "--participant-label", f"{people // 2:04d}")
    every = run(bids, *dry)
    shutil.rmtree(bids)
    return {
        "index_people": people,
        "index_all_s": every.seconds,
        "index_one_of_them_s": one.seconds,
        "index_peak_rss_gib": every.rss_gib,
    }


def growth(run: Runner, scan: Path, mask: np.ndarray, counts: Sequence[int]) -> dict[str, Any]:
    """Time and memory with so many small images, each of a person of its own."""
    rows = []
    for count in counts:
        bids = make_slabs(run.scratch / "slabs", scan, mask, count)
        cost = run(bids, "--preprocessed", "--skip-bids-validation")
        shutil.rmtree(bids)
        rows.append(
            {
                "images": count,
                "s": cost.seconds,
                "cpu_s": cost.cpu_seconds,
                "peak_pss_gib": cost.memory_gib,
            }
        )
    return {"growth": rows}
