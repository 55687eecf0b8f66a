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
    add("target", nargs="?", type=Path, metavar="TARGET", help="scan of the same person, aligned")
    add("--mask", type=Path, metavar="FILE", help="brain mask (default: made from the target)")
    add("--source", type=Path, metavar="FILE", help="image before harmonization: adds baselines")
    add(
        "--pairs",
        type=Path,
        metavar="TSV",
        help="many pairs: columns harmonized, target and, if wanted, mask, source",
    )
    add("-o", "--output", type=Path, metavar="TABLE.tsv", help="table (default: to the terminal)")


def run(given: argparse.Namespace) -> int:
    """Measure and write the table.

    Raises
    ------
    UsageError
        Neither a pair nor a file of pairs is given, or both are.
    """
    from tqdm import tqdm

    from bids_ihf.lab.benchmarks.files import Pair, evaluate_files
    from bids_ihf.lab.benchmarks.table import text_table, to_tsv, write_table
    from bids_ihf.lab.commands.pairs import read_pairs

    if (given.pairs is None) == (given.target is None):
        raise UsageError("name either HARMONIZED and TARGET, or a file with --pairs.")
    if given.pairs is not None:
        pairs = read_pairs(given.pairs)
    else:
        pairs = [Pair(given.harmonized, given.target, given.mask, given.source)]
    quiet = not sys.stderr.isatty()
    shown = tqdm(pairs, unit="pair", disable=quiet)
    rows = [row for pair in shown for row in evaluate_files([pair])]
    if given.output is None:
        sys.stdout.write(to_tsv(rows))
    else:
        write_table(given.output, rows)
        sys.stdout.write(text_table(rows))
    return 0
