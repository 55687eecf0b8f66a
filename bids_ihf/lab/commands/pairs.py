"""A file of pairs to evaluate."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from bids_ihf.errors import UsageError
from bids_ihf.io.tsv import MISSING_VALUE
from bids_ihf.lab.benchmarks.file_evaluation import FilePair

if TYPE_CHECKING:
    from pathlib import Path

PAIR_COLUMNS = ("harmonized", "target", "mask", "source")


def read_pairs(path: Path) -> list[FilePair]:
    """Pairs from a tab-separated file; paths are relative to it, ``n/a`` stands for none.

    Raises
    ------
    UsageError
        The file cannot be read, or lacks a column or a row.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read ({error}); check --pairs.") from error
    if not rows or not {"harmonized", "target"} <= set(rows[0]):
        raise UsageError(f"{path}: needs the columns harmonized and target and at least one row.")
    pairs = []
    for row in rows:
        files = {
            key: path.parent / row[key]
            for key in PAIR_COLUMNS
            if row.get(key) not in (None, "", MISSING_VALUE)
        }
        if not {"harmonized", "target"} <= set(files):
            raise UsageError(f"{path}: a row has no harmonized image or no target; fill it in.")
        pairs.append(FilePair(**files))
    return pairs
