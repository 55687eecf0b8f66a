"""Some minutes of training on a machine with a GPU, packed so that the next machine goes on.

Needs torch, numpy, scipy, safetensors and attrs, the file of packed label maps, and nothing else.

Usage: python -m bids_ihf.lab.training.timed_run CONFIG.toml OUT [--minutes N] [--from OUT_BEFORE]
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.training.training_config import read_config
from bids_ihf.lab.training.training_run import train
from bids_ihf.network.checkpoint import load_model
from bids_ihf.network.encoder import join_statistics

LOGGER = logging.getLogger(__name__)

PART_SIZE = 15 * 2**20
"""Largest part of the packed run, bytes: some machines return small files only."""

PACKED_FOLDER = "run"
"""Folder of the packed run in the output folder."""

DEFAULT_MINUTES = 8.0

VOLUME_SHAPE, BATCH_SLICES = (150, 160, 192), 16
"""Slices of a volume and their size, and slices at once, of the measured speed."""

REPEATS = 3


def unpack_run(folder: Path, run: Path) -> None:
    """Restore the output folder ``run`` of a training that `pack_run` packed."""
    packed = folder / PACKED_FOLDER
    files: dict[Path, list[Path]] = {}
    for part in sorted(path for path in packed.rglob("*.part*") if path.is_file()):
        files.setdefault(part.relative_to(packed).with_suffix(""), []).append(part)
    for relative, parts in files.items():
        (run / relative).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(run / relative, b"".join(part.read_bytes() for part in parts))


def pack_run(run: Path, folder: Path) -> None:
    """Copy an output folder of a training, each file in parts of at most `PART_SIZE`."""
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        target = folder / PACKED_FOLDER / path.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        for number, start in enumerate(range(0, max(len(data), 1), PART_SIZE)):
            part = target.with_name(f"{target.name}.part{number:03d}")
            write_atomic(part, data[start : start + PART_SIZE])


def measure_speed(run: Path, device: torch.device) -> dict[str, Any]:
    """Median time of encoder and network on a volume, s, and the memory they take, GiB."""
    model = load_model(run / "network.safetensors", str(device))
    count, height, width = VOLUME_SHAPE
    x = torch.zeros(count, 3, height, width)
    mask = torch.ones(count, 1, height, width)
    target = torch.zeros(count, model.encoder.size)
    seconds = []
    with torch.inference_mode():
        for _ in range(REPEATS + 1):  # the first is a warm-up
            start = time.perf_counter()
            for first in range(0, count, BATCH_SLICES):
                part = slice(first, first + BATCH_SLICES)
                source, inside = x[part].to(device), mask[part].to(device)
                embedding = join_statistics(model.encoder(source), inside)
                model.network(source, inside, target[part].to(device), embedding).cpu()
            seconds.append(time.perf_counter() - start)
    is_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if is_gpu else "CPU",
        "torch": torch.__version__,
        "volume": list(VOLUME_SHAPE),
        "seconds_per_volume": sorted(seconds[1:])[REPEATS // 2],
        "memory_gib": torch.cuda.max_memory_allocated() / 2**30 if is_gpu else None,
    }


def main() -> None:
    """Go on with a run, train, measure the speed, and pack."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.training.timed_run",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder of the packed run")
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, metavar="N")
    parser.add_argument(
        "--from", dest="before", type=Path, metavar="OUT_BEFORE", help="packed run to go on with"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run = read_config(arguments.config).output
    if arguments.before is not None:
        unpack_run(arguments.before, run)
    train(arguments.config, minutes=arguments.minutes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    speed = measure_speed(run, device)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_atomic(arguments.output / "speed.json", json.dumps(speed, indent=2).encode())
    for name in ("train.log", "validation.tsv", "network.safetensors"):
        if (run / name).exists():
            shutil.copyfile(run / name, arguments.output / name)
    pack_run(run, arguments.output)
    LOGGER.info("%s", json.dumps(speed))


if __name__ == "__main__":
    main()
