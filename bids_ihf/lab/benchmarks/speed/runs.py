"""Whole commands, in processes of their own: participants, start-up, large datasets."""

from __future__ import annotations

import shutil
import subprocess
from statistics import median
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bids_ihf.lab.benchmarks.speed.gpu_watch import GpuWatch
from bids_ihf.lab.benchmarks.speed.inputs import make_large_dataset, make_participants
from bids_ihf.lab.benchmarks.speed.machine import timed
from bids_ihf.lab.benchmarks.speed.processes import BIN_DIR, ProcessCost, run_and_measure

if TYPE_CHECKING:
    from pathlib import Path

BENCHMARK_TARGET = "Siemens"
START_COMMANDS = {
    "ihf_harmony_version": ("ihf-harmony", "--version"),
    "ihf_harmony_help": ("ihf-harmony", "--help"),
    "ihf_version": ("ihf", "--version"),
}


@frozen
class Runner:
    """``ihf-harmony`` on ``cores`` processors, writing to a scratch folder."""

    scratch: Path
    cores: int
    device: str = "cpu"

    def __call__(self, bids: Path, *options: str) -> ProcessCost:
        """Run the participant level into a new output folder, :attr:`out`."""
        work = self.scratch / "work"
        for folder in (self.out, work):
            shutil.rmtree(folder, ignore_errors=True)
        return run_and_measure(
            "ihf-harmony", bids, self.out, "participant", "--target", BENCHMARK_TARGET, "-w", work,
            "--n-procs", str(self.cores), "--device", self.device, *options,
            out=self.out, work=work, quiet=True,
        )  # fmt: skip

    @property
    def out(self) -> Path:
        """Output folder of the latest run."""
        return self.scratch / "out"


def participants(run: Runner, bids: Path, repeats: int) -> dict[str, Any]:
    """A participant with a T1w, and one with T1w, T2w and diffusion, each several times.

    With validation of the input.
    """
    t1w = [run(bids, "--modalities", "T1w") for _ in range(repeats)]
    three = [run(bids, "--modalities", "T1w", "T2w", "dwi") for _ in range(repeats)]
    return {
        "participant_T1w_s": median(cost.seconds for cost in t1w),
        "participant_T1w_rounds_s": [cost.seconds for cost in t1w],
        "participant_T1w_cpu_s": median(cost.cpu_seconds for cost in t1w),
        "participant_peak_rss_gib": max(cost.rss_gib for cost in t1w),
        "participant_peak_pss_gib": max(cost.memory_gib for cost in t1w),
        "participant_T1w_T2w_dwi_s": median(cost.seconds for cost in three),
        "participant_T1w_T2w_dwi_rounds_s": [cost.seconds for cost in three],
        "participant_T1w_T2w_dwi_cpu_s": median(cost.cpu_seconds for cost in three),
        "participant_T1w_T2w_dwi_peak_rss_gib": max(cost.rss_gib for cost in three),
        "participant_T1w_T2w_dwi_peak_pss_gib": max(cost.memory_gib for cost in three),
    }


def overlapped_participants(run: Runner, scan: Path, count: int) -> dict[str, Any]:
    """Several participants with a T1w each, as many at a time as the run allows, and for how much
    of it the GPU computes nothing."""
    bids = make_participants(run.scratch / "participants", scan, count)
    with GpuWatch() as watch:
        cost = run(bids, "--skip-bids-validation")
    shutil.rmtree(bids)
    return {
        "overlapped_participants": count,
        "overlapped_participants_s": cost.seconds,
        "overlapped_gpu_idle_fraction": watch.idle_fraction,
    }


def start_times(repeats: int) -> dict[str, float]:
    """Time until commands that compute nothing have ended."""
    times = {}
    for name, (command, option) in START_COMMANDS.items():

        def run(program: str = str(BIN_DIR / command), option: str = option) -> None:
            subprocess.run([program, option], check=True, capture_output=True)  # noqa: S603 - our own

        run()
        times[f"{name}_s"] = median(timed(run) for _ in range(repeats))
    return times


def index_large_dataset(run: Runner, subjects: int) -> dict[str, float]:
    """Finding and planning all images of a large dataset, and those of one participant."""
    bids = make_large_dataset(run.scratch / "large", subjects)
    dry = ("--dry-run", "--skip-bids-validation", "--modalities", "T1w", "T2w")
    single = run(bids, *dry, "--participant-label", f"{subjects // 2:04d}")
    all_subjects = run(bids, *dry)
    shutil.rmtree(bids)
    return {
        "index_people": subjects,
        "index_all_s": all_subjects.seconds,
        "index_one_of_them_s": single.seconds,
        "index_peak_rss_gib": all_subjects.rss_gib,
    }
