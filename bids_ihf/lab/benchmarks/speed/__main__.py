"""Time and memory, ours beside the authors' layout, in one run on one machine.

Measures the network and two other layouts in turns, each stage of a T1w scan, whole participants,
start-up, a large dataset and many images; writes OUT/speed.json and the tables of
docs/performance.md.  Run it on a machine that does nothing else; it takes about a quarter of an
hour on two cores.  Linux only.  With a GPU, that is measured as well.

Usage: python -m bids_ihf.lab.benchmarks.speed DEMO -o docs/results
           [--page docs/performance.md] [--quick]

DEMO is a folder with a simulated session, which is made if it is not there.
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

from bids_ihf.lab.benchmarks.speed import machine, runs, table
from bids_ihf.lab.benchmarks.speed.inputs import make_session
from bids_ihf.lab.benchmarks.speed.network import against_limit, compare
from bids_ihf.lab.benchmarks.speed.processes import adopt_orphans
from bids_ihf.lab.benchmarks.speed.stages import (
    Stopwatch,
    network_stages,
    output_stages,
    page_stage,
    prepare_stages,
    shape_of,
)
from bids_ihf.pipeline.process import reuse_freed_memory, set_up_process

if TYPE_CHECKING:
    from collections.abc import Callable

    Keep = Callable[[str, dict[str, Any]], None]

LOGGER = logging.getLogger("speed")


@frozen
class Size:
    """How much is measured: voxel size (mm), repeats of stages and participants, rounds of the
    layouts, people of the large dataset, numbers of small images."""

    zoom: float = 1.0
    repeats: int = 3
    rounds: int = 5
    people: int = 1500
    images: tuple[int, ...] = (1, 10, 100)


QUICK = Size(zoom=4.0, repeats=1, rounds=1, people=10, images=(1, 2))


def on_processor(bids: Path, scratch: Path, size: Size, keep: Keep) -> None:
    """All that is measured on the processor; ``keep`` gets each part once it is there."""
    path = make_session(bids, zoom=size.zoom)
    run = runs.Runner(scratch, len(os.sched_getaffinity(0)))
    keep("participants", runs.participants(run, bids, size.repeats))
    watch = Stopwatch(size.repeats)
    prepared = prepare_stages(watch, bids, path)
    profile, model = _target_and_model("cpu")
    scan, harmonized = network_stages(watch, prepared, profile, model)
    output_stages(watch, prepared, harmonized, scratch)
    page_stage(watch, run.out, "01")
    keep("stages", {"stages": watch.seconds, "scan": shape_of(prepared)})
    found = compare(scan, model, size.rounds)
    limit = machine.measure_limit()
    found["limit"] = against_limit(scan, model, found["network_s_per_volume"], limit)
    keep("layouts", found)
    keep("start-up", {"starts": runs.starts(size.repeats + 2)})
    keep("many images", runs.growth(run, path, prepared.mask, size.images))
    keep("many people", runs.crowd(run, size.people))


def on_gpu(bids: Path, scratch: Path, size: Size) -> dict[str, Any]:
    """The same of what runs on the GPU."""
    path = make_session(bids, zoom=size.zoom)
    watch = Stopwatch(1)
    prepared = prepare_stages(watch, bids, path)
    profile, model = _target_and_model("cuda")
    torch.cuda.reset_peak_memory_stats()
    scan, _ = network_stages(watch, prepared, profile, model)
    memory = torch.cuda.max_memory_allocated() / 2**30
    found = compare(scan, model, size.rounds)
    limit = machine.measure_limit("cuda")
    found["limit"] = against_limit(scan, model, found["network_s_per_volume"], limit)
    run = runs.Runner(scratch, len(os.sched_getaffinity(0)), "cuda")
    found |= runs.participants(run, bids, size.repeats)
    return found | {"name": torch.cuda.get_device_name(), "memory_gib": memory}


def _target_and_model(device: str) -> tuple[Any, Any]:
    from bids_ihf.pipeline.resources import load_model_cached, load_target_cached

    return load_target_cached(runs.TARGET).profile("T1w"), load_model_cached(device)


def measure_all(bids: Path, size: Size, path: Path, command: str) -> dict[str, Any]:
    """Everything, in one run; what is there is in the file ``path`` from part to part."""
    start = time.monotonic()
    cpu: dict[str, Any] = {}
    found: dict[str, Any] = {
        "command": command,
        "machine": machine.describe(),
        "size": asdict(size),
        "cpu": cpu,
    }

    def keep(part: str, values: dict[str, Any]) -> None:
        cpu.update(rounded(values))
        found["took_s"] = round(time.monotonic() - start)
        path.write_text(json.dumps(found, indent=2) + "\n")
        LOGGER.info("%s: done after %d s", part, found["took_s"])

    with tempfile.TemporaryDirectory(prefix="ihf-speed-") as scratch:
        on_processor(bids, Path(scratch), size, keep)
        if torch.cuda.is_available():
            found["gpu"] = rounded(on_gpu(bids, Path(scratch), size))
            keep("GPU", {})
    return found


def rounded(value: Any) -> Any:
    """Numbers of five digits, in whatever holds them."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> None:
    """Measure, write, print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("demo", type=Path, metavar="DEMO")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--page", type=Path, default=Path("docs/performance.md"))
    parser.add_argument("--quick", action="store_true", help="coarse and few, to see that it runs")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    LOGGER.setLevel(logging.INFO)
    # As the commands do.
    set_up_process(torch.get_num_threads(), 0)
    reuse_freed_memory()
    adopt_orphans()
    given.output.mkdir(parents=True, exist_ok=True)
    command = f"python -m bids_ihf.lab.benchmarks.speed DEMO{' --quick' if given.quick else ''}"
    size = QUICK if given.quick else Size()
    text = table.page(measure_all(given.demo, size, given.output / "speed.json", command))
    if not given.quick:
        table.put(text, given.page)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
