"""``ihf evaluate``: how close harmonized images come to scans of the target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bids_ihf.errors import UsageError

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf evaluate``."""
    add = parser.add_argument
    add("harmonized", nargs="?", type=Path, metavar="HARMONIZED", help="harmonized image")
    add(
        "target",
        nargs="?",
        type=Path,
        metavar="TARGET",
        help="scan of the same subject by the target scanner, registered to HARMONIZED",
    )
    add(
        "--mask",
        type=Path,
        metavar="FILE",
        help="brain mask (default: the overlap of the masks found in both images)",
    )
    add("--source", type=Path, metavar="FILE", help="image before harmonization: adds baselines")
    add(
        "--pairs",
        type=Path,
        metavar="TSV",
        help="many pairs: columns harmonized, target and optionally mask, source",
    )
    add(
        "--lpips",
        type=Path,
        metavar="FILE",
        help="also measure LPIPS, with the weights that the package lpips saves",
    )
    add("-o", "--output", type=Path, metavar="TABLE.tsv", help="table (default: to the terminal)")


def run(arguments: argparse.Namespace) -> int:
    """Measure and write the table.

    Raises
    ------
    UsageError
        Neither a pair nor a file of pairs is given, or both are.
    """
    from tqdm import tqdm

    from bids_ihf.io.atomic import write_atomic
    from bids_ihf.lab.benchmarks.file_evaluation import (
        FilePair,
        columns_with,
        evaluate_files,
        summary_text,
    )
    from bids_ihf.lab.benchmarks.metrics.lpips import load_lpips
    from bids_ihf.lab.benchmarks.tables import Table, to_tsv
    from bids_ihf.lab.commands.pairs import read_pairs

    if (arguments.pairs is None) == (arguments.target is None):
        raise UsageError("Name either HARMONIZED and TARGET, or a file with --pairs.")
    if arguments.pairs is not None:
        pairs = read_pairs(arguments.pairs)
    else:
        images = arguments.harmonized, arguments.target
        pairs = [FilePair(*images, mask=arguments.mask, source=arguments.source)]
    lpips = None if arguments.lpips is None else load_lpips(arguments.lpips)
    columns = columns_with(lpips)
    progress = tqdm(pairs, unit="pair", disable=not sys.stderr.isatty())
    rows = [row for pair in progress for row in evaluate_files([pair], lpips)]
    if arguments.output is None:
        sys.stdout.write(to_tsv(rows, list(columns)).decode())
        return 0
    files = Table(rows, columns).files("table", {})
    write_atomic(arguments.output, files["table.tsv"])
    write_atomic(arguments.output.with_suffix(".json"), files["table.json"])
    sys.stdout.write(summary_text(rows, lpips))
    return 0
