"""``ihf evaluate``: how close harmonized images come to scans of the target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_ihf.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


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

    from bids_ihf.bids.write import write_atomic
    from bids_ihf.cli.pairs import Pair, measure, read_pairs

    if (given.pairs is None) == (given.target is None):
        raise UsageError("name either HARMONIZED and TARGET, or a file with --pairs.")
    if given.pairs is not None:
        pairs = read_pairs(given.pairs)
    else:
        pairs = [Pair(given.harmonized, given.target, given.mask, given.source)]
    quiet = not sys.stderr.isatty()
    rows = [row for pair in tqdm(pairs, unit="pair", disable=quiet) for row in measure(pair)]
    text = to_tsv(rows)
    if given.output is None:
        sys.stdout.write(text)
    else:
        write_atomic(given.output, text.encode())
    return 0


def to_tsv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a tab-separated table; numbers with six digits."""
    lines = ["\t".join(rows[0])]
    for row in rows:
        values = (f"{v:.6g}" if isinstance(v, float) else str(v) for v in row.values())
        lines.append("\t".join(values))
    return "\n".join(lines) + "\n"
