"""``ihf demo-data DIR``: a simulated traveling-subject dataset."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from bids_ihf.bids.names import ANATOMICAL_MODALITIES
from bids_ihf.config.values import positive_integer
from bids_ihf.errors import CannotWrite

if TYPE_CHECKING:
    import argparse


ZOOM_LIMITS_MM = (0.3, 10.0)
"""Voxel sizes that a head can be simulated with."""


def voxel_size(text: str) -> float:
    """A voxel size, mm, within the limits."""
    try:
        size = float(text)
    except ValueError:
        size = float("nan")
    low, high = ZOOM_LIMITS_MM
    if not low <= size <= high:
        raise ArgumentTypeError(f"{text!r} is no voxel size from {low:g} to {high:g} mm")
    return size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf demo-data``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="new folder for the dataset")
    parser.add_argument(
        "--subjects",
        type=positive_integer,
        default=2,
        metavar="N",
        help="number of subjects (default: 2)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed (default: 0)")
    parser.add_argument(
        "--zoom", type=voxel_size, default=1.0, metavar="MM", help="voxel size (default: 1 mm)"
    )
    parser.add_argument(
        "--modalities",
        nargs="+",
        choices=(*ANATOMICAL_MODALITIES, "dwi"),
        default=(*ANATOMICAL_MODALITIES, "dwi"),
        help="kinds of images (default: all)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the dataset.

    Raises
    ------
    CannotWrite
        The folder exists and is not empty, or cannot be written.
    """
    folder = Path(arguments.folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CannotWrite(f"{folder}: exists and is not empty; name a new folder.")
    from bids_ihf.lab.simulation.demo_dataset import write_demo_dataset

    write_demo_dataset(
        folder,
        subjects=arguments.subjects,
        seed=arguments.seed,
        zoom=arguments.zoom,
        suffixes=arguments.modalities,
    )
    sys.stdout.write(f"{folder}\n")
    return 0
