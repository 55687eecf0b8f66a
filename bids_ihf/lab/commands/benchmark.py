"""``ihf benchmark LABELS_DIR``: simulated traveling subjects, harmonized and measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bids_ihf.config.values import modality, positive_integer
from bids_ihf.errors import UsageError
from bids_ihf.lab.commands.benchmark_runs import (
    run_brain,
    run_diffusion,
    run_ranges,
    run_reality,
    run_travels,
    run_vendors,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf benchmark``."""
    add = parser.add_argument
    add(
        "labels",
        type=Path,
        nargs="?",
        metavar="LABELS_DIR",
        help="label maps, NAME_dseg.nii.gz; not with --travellers",
    )
    add("-o", "--output", type=Path, required=True, metavar="OUT_DIR", help="tables and figures")
    add(
        "--people",
        nargs="+",
        metavar="NAME",
        help="label maps of the test subjects (default: head-13 to head-16)",
    )
    add(
        "--references",
        nargs="+",
        metavar="NAME",
        help="label maps whose scans the other methods know (default: head-01 head-05 head-09; "
        "with dwi head-01 to head-11)",
    )
    add(
        *("--modalities", "--modality"),
        nargs="+",
        type=modality,
        metavar="MOD",
        help="T1w T2w (default), or dwi alone",
    )
    add("--model", type=Path, metavar="DIR", help="weights of 'ihf train' instead of the shipped")
    add(
        "--network",
        nargs="+",
        type=named_file,
        default=[],
        metavar="NAME=FILE",
        help="further networks of the same encoder to measure",
    )
    add(
        "--comparator",
        nargs="+",
        type=named_file,
        default=[],
        metavar="NAME=FILE",
        help="comparators of 'ihf train' to measure; a name may have a file for each modality",
    )
    add("--jobs", type=positive_integer, default=2, metavar="N", help="processes (default: 2)")
    add("--seed", type=int, default=1, metavar="S", help="seed (default: 1)")
    add("--anatomy", action="store_true", help="also measure anatomy preservation")
    add("--brain", action="store_true", help="only measure brain masks and registration")
    add(
        "--ranges",
        action="store_true",
        help="LABELS_DIR is a pool of simulated scans: only measure the reference ranges of the "
        "reports, ranges.json and familiar.safetensors",
    )
    add(
        *("--travellers", "--travelers"),
        type=Path,
        dest="travellers",
        metavar="DIR",
        help="measure real people instead: a BIDS dataset, preprocessed and in template space, of "
        "at least three subjects on several scanners, told by the entity acq or ses",
    )
    add(
        "--reality",
        type=Path,
        metavar="DATA_DIR",
        help="only compare simulated scans with the real T1w, T2w and FLAIR images of a folder",
    )
    add(
        "--poses",
        type=positive_integer,
        default=500,
        metavar="N",
        help="with --brain: heads in random poses (default: 500)",
    )
    add(
        "--scans",
        type=positive_integer,
        metavar="N",
        help="with --ranges: scans of each subject and modality (default: 16); with --reality: "
        "simulated scans of each contrast (default: 200)",
    )
    add("--quick", action="store_true", help="only the first subject and modality")


def named_file(text: str) -> tuple[str, Path]:
    """``NAME=FILE`` of a file that exists."""
    name, _, path = text.partition("=")
    if not (name.strip() and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{path}: no such file")
    return name.strip(), Path(path)


def run(arguments: argparse.Namespace) -> int:
    """Measure, write tables and figures, and print a summary.

    Raises
    ------
    UsageError
        Diffusion is requested together with other modalities, or there is not one input.
    """
    from bids_ihf.pipeline.run_log import start_logging

    # Progress is INFO, and shown without --verbose: a benchmark takes minutes to hours.
    start_logging(arguments.verbose + 1)
    if (arguments.labels is None) == (arguments.travellers is None):
        raise UsageError("Name either LABELS_DIR or --travellers DIR.")
    if arguments.travellers:
        summary = run_travels(arguments)
    elif arguments.reality:
        summary = run_reality(arguments)
    elif arguments.ranges:
        summary = run_ranges(arguments)
    elif "dwi" in (arguments.modalities or ()):
        summary = run_diffusion(arguments)
    elif arguments.brain:
        summary = run_brain(arguments)
    else:
        summary = run_vendors(arguments)
    sys.stdout.write(summary)
    return 0
