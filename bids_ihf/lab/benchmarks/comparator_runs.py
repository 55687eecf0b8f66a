"""Comparators that were trained: their error on people kept out, and their cost.

A volume is as large as those of training; it is translated on the CPU by one thread, each
comparator in a process of its own.

Usage: python -m bids_ihf.lab.benchmarks.comparator_runs RUN_DIR... [-o OUT_DIR] [--slices 150]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bids_ihf.geometry.grid import Grid
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tsv import read_tsv
from bids_ihf.lab.benchmarks.tables import Column, Table, aligned, group_rows
from bids_ihf.lab.comparators.learned.scan import FRAME_SHAPE, TargetScan, translate_scan
from bids_ihf.lab.comparators.learned.weights import load_comparator
from bids_ihf.network.checkpoint import load_encoder
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import NetworkInput
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from bids_ihf.lab.benchmarks.tables import Row

VOLUME_SLICES = 150

RUN_COLUMNS = {
    "kind": Column("Comparator, as in the section [comparator] of its configuration"),
    "modality": Column("T1w, T2w or FLAIR"),
    "step": Column("Steps of training of the weights, which have the least error of all"),
    "slices": Column("Slices of the people who are kept out"),
    "none": Column(
        "Mean absolute error in the brain of the source as it is, each scan in its own range, "
        "against the same slices by the target's scanner; the range is 2"
    ),
    "comparator": Column("The same after translation"),
    "parameters": Column("Parameters that a translation needs"),
    "training_cpu_s": Column("Processor time of all steps, without simulating scans", "s"),
    "volume_cpu_s": Column("Processor time of a volume", "s"),
    "volume_memory_mb": Column("Memory that translating a volume adds at its peak", "MB"),
}


def best_validation(path: Path) -> list[Row]:
    """The rows, one for each modality, of the validation with the least error relative to that of
    the source."""
    steps = group_rows(read_tsv(path)[1], ["step"]).values()

    def ratio(rows: list[Row]) -> float:
        return float(np.mean([float(row["comparator"]) / float(row["none"]) for row in rows]))

    return min(steps, key=ratio)


def run_rows(run: Path, slices: int) -> list[Row]:
    """A row for each modality of a comparator that ``ihf train`` wrote."""
    # In a fresh process, whose memory is measured.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        cost = worker.submit(measure_cost, run / "comparator.safetensors", slices).result()
    numbers = ("none", "comparator")
    return [
        {**row, **{name: float(row[name]) for name in numbers}, **cost}
        for row in best_validation(run / "validation.tsv")
    ]


def measure_cost(path: Path, slices: int) -> Row:
    """The cost of a comparator, and its kind."""
    torch.set_num_threads(1)
    encoder, digest = load_encoder()
    loaded = load_comparator(path, encoder, digest)
    settings = loaded.model.settings
    (target_vendor, modality), (source_vendor, _) = (s.split(" ") for s in settings.sites[:2])
    shape = (*FRAME_SHAPE, slices)
    data = np.random.default_rng(0).random(shape, dtype=np.float32)
    scale = IntensityScale(0.0, 1.0)
    on_grid = NetworkInput(
        data, np.ones(shape, np.float32), Grid(shape, np.eye(4)), scale, None, modality
    )
    target = TargetScan(target_vendor, scale, data, np.ones(shape, dtype=bool))
    memory, start = _peak_mb(), time.process_time()
    translate_scan(loaded.model, on_grid, np.arange(slices), target, source_vendor)
    steps = loaded.record["settings"]["comparator"]["steps"]
    return {
        "kind": settings.kind,
        "parameters": sum(value.numel() for value in loaded.model.parameters()),
        "training_cpu_s": round(steps * loaded.record["seconds_per_step"], 1),
        "volume_cpu_s": round(time.process_time() - start, 2),
        "volume_memory_mb": round(_peak_mb() - memory),
    }


def _peak_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    """Measure, print, and write ``comparators.tsv`` with its data dictionary if asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.comparator_runs",
        description=(__doc__ or "").splitlines()[0],
    )
    add = parser.add_argument
    add("runs", type=Path, nargs="+", metavar="RUN_DIR", help="folders that 'ihf train' wrote")
    add("-o", "--output", type=Path, metavar="OUT_DIR", help="tables (default: none)")
    add("--slices", type=int, default=VOLUME_SLICES, metavar="N", help="slices of a volume")
    arguments = parser.parse_args()
    rows = [row for run in arguments.runs for row in run_rows(run, arguments.slices)]
    if arguments.output is not None:
        facts = {"VolumeSlices": arguments.slices, "Version": __version__}
        for name, content in Table(rows, RUN_COLUMNS).files("comparators", facts).items():
            write_atomic(arguments.output / name, content)
    sys.stdout.write(aligned(rows, list(RUN_COLUMNS)))


if __name__ == "__main__":
    main()
