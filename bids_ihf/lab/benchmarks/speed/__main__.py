"""Time and memory of the software, and of the authors' network layout, on one machine.

Measures the network and two other layouts in turns, each stage of a T1w scan, whole participants,
start-up, a large dataset, and growth with images, voxels and directions; writes OUT/speed.json,
OUT/fig-growth.png and the tables of docs/performance.md.  Needs an otherwise idle machine, about
a third of an hour on two cores, and Linux.  A GPU is measured as well, if there is one.

Usage: python -m bids_ihf.lab.benchmarks.speed DEMO -o docs/results
           [--page docs/performance.md] [--quick]

DEMO is a folder with a simulated session, which is made if it does not exist.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from attrs import asdict, frozen

from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.speed import machine, runs, table
from bids_ihf.lab.benchmarks.speed.growth import (
    growth_by_directions,
    growth_by_images,
    growth_by_voxels,
    growth_figure,
)
from bids_ihf.lab.benchmarks.speed.inputs import make_session
from bids_ihf.lab.benchmarks.speed.network import compare_layouts, compare_to_limit
from bids_ihf.lab.benchmarks.speed.processes import adopt_orphans
from bids_ihf.lab.benchmarks.speed.stages import (
    Stopwatch,
    network_stages,
    output_stages,
    page_stage,
    prepare_stages,
    shape_of,
)
from bids_ihf.network.checkpoint import load_model_cached
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.pipeline.resources import load_target_cached

if TYPE_CHECKING:
    from collections.abc import Callable

    Keep = Callable[[str, dict[str, Any]], None]

LOGGER = logging.getLogger("speed")


@frozen
class Size:
    """Extent of the measurements.

    Attributes
    ----------
    zoom
        Voxel size, mm.
    participants
        Runs of each participant.
    repeats
        Of stages.
    rounds
        In which the layouts take turns.
    subjects
        Of the large dataset.
    images
        Numbers of small images.
    zooms
        Voxel sizes of a T1w, mm.
    directions
        Of a diffusion series.
    overlapped
        Participants of the run in which a GPU's idle time is measured.
    """

    zoom: float = 1.0
    participants: int = 5
    repeats: int = 3
    rounds: int = 5
    subjects: int = 1500
    images: tuple[int, ...] = (1, 10, 100)
    zooms: tuple[float, ...] = (2.0, 1.4, 1.0, 0.8)
    directions: tuple[int, ...] = (15, 30, 60, 120)
    overlapped: int = 8


QUICK_SIZE = Size(
    zoom=4.0, participants=1, repeats=1, rounds=1, subjects=10,
    images=(1, 2), zooms=(6.0, 4.0), directions=(15, 30), overlapped=2,
)  # fmt: skip


def on_processor(bids: Path, scratch: Path, size: Size, keep: Keep) -> None:
    """Measure everything on the processor; ``keep`` is called with each result."""
    path = make_session(bids, zoom=size.zoom)
    run = runs.Runner(scratch, len(os.sched_getaffinity(0)))
    keep("participants", runs.participants(run, bids, size.participants))
    watch = Stopwatch(size.repeats)
    prepared = prepare_stages(watch, bids, path)
    profile, model = _target_and_model("cpu")
    case, harmonized = network_stages(watch, prepared, profile, model)
    output_stages(watch, prepared, harmonized, scratch)
    page_stage(watch, run.out, "01")
    keep("stages", {"stages": watch.seconds, "scan": shape_of(prepared)})
    layouts = compare_layouts(case, model, size.rounds)
    limit = machine.measure_limit()
    seconds = layouts["network_s_per_volume"]
    layouts["limit"] = compare_to_limit(case, model, seconds, limit)
    keep("layouts", layouts)
    keep("start-up", {"starts": runs.start_times(size.repeats + 2)})
    keep("many images", {"growth": growth_by_images(run, path, prepared.mask, size.images)})
    keep("voxels", {"growth_by_voxels": growth_by_voxels(run, size.zooms)})
    (series,) = bids.glob("sub-*/**/dwi/*_dwi.nii.gz")
    by_directions = growth_by_directions(run, series, size.directions)
    keep("directions", {"growth_by_directions": by_directions})
    keep("many subjects", runs.index_large_dataset(run, size.subjects))


def on_gpu(bids: Path, scratch: Path, size: Size) -> dict[str, Any]:
    """The same for what runs on the GPU."""
    path = make_session(bids, zoom=size.zoom)
    watch = Stopwatch(1)
    prepared = prepare_stages(watch, bids, path)
    profile, model = _target_and_model("cuda")
    torch.cuda.reset_peak_memory_stats()
    case, _ = network_stages(watch, prepared, profile, model)
    memory = torch.cuda.max_memory_allocated() / 2**30
    results = compare_layouts(case, model, size.rounds)
    limit = machine.measure_limit("cuda")
    seconds = results["network_s_per_volume"]
    results["limit"] = compare_to_limit(case, model, seconds, limit)
    run = runs.Runner(scratch, len(os.sched_getaffinity(0)), "cuda")
    results |= runs.participants(run, bids, size.participants)
    results |= runs.overlapped_participants(run, path, size.overlapped)
    return results | {"name": torch.cuda.get_device_name(), "memory_gib": memory}


def _target_and_model(device: str) -> tuple[Any, Any]:
    profile = load_target_cached(runs.BENCHMARK_TARGET).profile("T1w")
    return profile, load_model_cached(device)


def measure_all(bids: Path, size: Size, path: Path, command: str) -> dict[str, Any]:
    """Measure everything; the file ``path`` is updated after each part."""
    start = time.monotonic()
    cpu: dict[str, Any] = {}
    results: dict[str, Any] = {
        "command": command,
        "machine": machine.describe(),
        "size": _size_record(size),
        "cpu": cpu,
    }

    def keep(name: str, values: dict[str, Any]) -> None:
        cpu.update(rounded(values))
        results["took_s"] = round(time.monotonic() - start)
        path.write_text(json.dumps(results, indent=2) + "\n")
        LOGGER.info("%s: finished after %d s", name, results["took_s"])

    with tempfile.TemporaryDirectory(prefix="ihf-speed-") as scratch:
        on_processor(bids, Path(scratch), size, keep)
        if torch.cuda.is_available():
            results["gpu"] = rounded(on_gpu(bids, Path(scratch), size))
            keep("GPU", {})
    return results


def _size_record(size: Size) -> dict[str, Any]:
    record = asdict(size)
    record["people"] = record.pop("subjects")  # the key of results that exist
    return record


def rounded(value: Any) -> Any:
    """Floats rounded to five significant digits, also within containers."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> None:
    """Measure, write, print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.speed", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("demo", type=Path, metavar="DEMO", help="folder of a simulated session, made if missing")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of speed.json")
    add("--page", type=Path, default=Path("docs/performance.md"), help="page for the tables")
    add("--quick", action="store_true", help="coarse and few, to check that it runs")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    LOGGER.setLevel(logging.INFO)
    # As the commands do.
    set_up_process(0, torch.get_num_threads())
    adopt_orphans()
    arguments.output.mkdir(parents=True, exist_ok=True)
    command = (
        f"python -m bids_ihf.lab.benchmarks.speed DEMO{' --quick' if arguments.quick else ''}"
    )
    size = QUICK_SIZE if arguments.quick else Size()
    results = measure_all(arguments.demo, size, arguments.output / "speed.json", command)
    write_atomic(arguments.output / "fig-growth.png", growth_figure(results["cpu"]))
    text = table.page(results)
    if not arguments.quick:
        table.replace_tables(text, arguments.page)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
