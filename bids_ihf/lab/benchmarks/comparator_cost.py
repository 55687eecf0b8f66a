"""Cost of comparators: parameters, time of training, and time and memory of a volume.

A volume is as large as those of training; it is translated on the CPU by one thread, each
comparator in a process of its own.

Usage: python -m bids_ihf.lab.benchmarks.comparator_cost FILE... [--slices 150]
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
from bids_ihf.lab.benchmarks.tables import aligned
from bids_ihf.lab.comparators.learned.scan import FRAME_SHAPE, TargetScan, translate_scan
from bids_ihf.lab.comparators.learned.weights import load_comparator
from bids_ihf.network.checkpoint import load_encoder
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import NetworkInput

if TYPE_CHECKING:
    from bids_ihf.lab.benchmarks.tables import Row

VOLUME_SLICES = 150

COLUMNS = (
    "kind", "parameters", "training_steps", "training_cpu_s", "volume_cpu_s", "volume_memory_mb",
)  # fmt: skip


def measure_cost(path: Path, slices: int) -> Row:
    """The cost of one comparator; run it in a fresh process, whose memory is measured."""
    torch.set_num_threads(1)
    encoder, digest = load_encoder()
    loaded = load_comparator(path, encoder, digest)
    settings = loaded.model.settings
    vendor, modality = settings.sites[0].split(" ")
    shape = (*FRAME_SHAPE, slices)
    data = np.random.default_rng(0).random(shape, dtype=np.float32)
    scale = IntensityScale(0.0, 1.0)
    on_grid = NetworkInput(
        data, np.ones(shape, np.float32), Grid(shape, np.eye(4)), scale, None, modality
    )
    target = TargetScan(vendor, scale, data, np.ones(shape, dtype=bool))
    before = _peak_mb()
    start = time.process_time()
    translate_scan(
        loaded.model, on_grid, np.arange(slices), target, settings.sites[1].split(" ")[0]
    )
    steps = loaded.record.get("settings", {}).get("comparator", {}).get("steps", 0)
    return {
        "kind": settings.kind,
        "parameters": sum(value.numel() for value in loaded.model.parameters()),
        "training_steps": steps,
        "training_cpu_s": steps * loaded.record.get("seconds_per_step", float("nan")),
        "volume_cpu_s": time.process_time() - start,
        "volume_memory_mb": _peak_mb() - before,
    }


def _peak_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.comparator_cost",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--slices", type=int, default=VOLUME_SLICES, metavar="N")
    arguments = parser.parse_args()
    rows = []
    for path in arguments.files:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
            rows.append(worker.submit(measure_cost, path, arguments.slices).result())
    sys.stdout.write(aligned(rows, COLUMNS))


if __name__ == "__main__":
    main()
