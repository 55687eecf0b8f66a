"""Comparators that were trained: their error on people kept out, and their cost beside our own.

A volume is as large as those of training; it is translated on the CPU by one thread, each
comparator in a process of its own.

Usage: python -m bids_ihf.lab.benchmarks.comparator_runs RUN_DIR... [-o OUT_DIR] [--slices 150]
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tsv import read_tsv
from bids_ihf.lab.benchmarks.comparator_cost import (
    comparator_step_cost,
    comparator_volume_cost,
    network_step_cost,
    network_volume_cost,
)
from bids_ihf.lab.benchmarks.tables import Column, Table, aligned, group_rows
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from bids_ihf.lab.benchmarks.tables import Row

VOLUME_SLICES = 150

RUN_COLUMNS = {
    "kind": Column(
        "Comparator, as in the section [comparator] of its configuration; last, for its cost, the "
        "shipped network with its encoder, without intensity curve and field"
    ),
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
    "step_cpu_s": Column(
        "Processor time of a step of training, the fastest of three on random images", "s"
    ),
    "step_memory_mb": Column("Memory that steps of training add at their peak", "MB"),
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
    path = run / "comparator.safetensors"
    cost = _in_fresh_process(comparator_volume_cost, path, slices)
    cost |= _in_fresh_process(comparator_step_cost, path)
    numbers = ("none", "comparator")
    return [
        {**row, **{name: float(row[name]) for name in numbers}, **cost}
        for row in best_validation(run / "validation.tsv")
    ]


def network_row(slices: int) -> Row:
    """The cost of the shipped network, whose errors are in other tables."""
    cost = _in_fresh_process(network_volume_cost, None, slices)
    return dict.fromkeys(RUN_COLUMNS, "n/a") | cost | _in_fresh_process(network_step_cost, None)


def _in_fresh_process(measure: Callable[..., Row], *arguments: object) -> Row:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        return worker.submit(measure, *arguments).result()


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
    rows.append(network_row(arguments.slices))
    if arguments.output is not None:
        facts = {"VolumeSlices": arguments.slices, "Version": __version__}
        for name, content in Table(rows, RUN_COLUMNS).files("comparators", facts).items():
            write_atomic(arguments.output / name, content)
    sys.stdout.write(aligned(rows, list(RUN_COLUMNS)))


if __name__ == "__main__":
    main()
