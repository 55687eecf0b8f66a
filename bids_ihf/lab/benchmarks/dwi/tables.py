"""Tables of the diffusion benchmark: every subject's rows, and their means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.lab.benchmarks.dwi.map_metrics import BY_VOXEL, PRINCIPAL_DIRECTION
from bids_ihf.lab.benchmarks.dwi.methods import METHOD_DESCRIPTIONS
from bids_ihf.lab.benchmarks.tables import Column, aligned, group_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.lab.benchmarks.tables import Row

ALL_PAIRS = "all"
"""Source and target of the means over all pairs."""

SIGNIFICANT_DIGITS = 4
"""Of the numbers in the tables."""

DWI_COLUMNS = {
    "source": Column(
        "Vendor whose series is harmonized; 'all' for the mean over all ordered pairs"
    ),
    "target": Column("Vendor that it is harmonized to; 'all' likewise"),
    "method": Column("What made the series", levels=METHOD_DESCRIPTIONS),
    "map": Column(
        "FA, MD (1e-3 mm2/s), NDI, ODI: means of regions of 12 mm, in nervous tissue (FA, MD) or "
        f"white matter of every third slice (NDI, ODI); with '{BY_VOXEL}': single voxels; "
        f"'{PRINCIPAL_DIRECTION}': angle between principal directions in white matter, degrees"
    ),
    "mae": Column("Mean absolute difference to the map of the subject's series by the target"),
    "bias": Column("Mean difference; for 'all' the mean of the absolute biases of the pairs"),
}
SUBJECT_COLUMNS = {"subject": Column("Label map of the simulated subject")} | DWI_COLUMNS


def aggregate(rows: Sequence[Row]) -> list[Row]:
    """Means over subjects of each pair, then over all pairs.

    The bias over all pairs is the mean of the pairs' absolute biases: those of a pair and of its
    reverse would cancel.
    """
    pairs = _means(rows, ["source", "target", "method", "map"])
    labels = {"source": ALL_PAIRS, "target": ALL_PAIRS}
    over_all = _means([{**row, "bias": abs(row["bias"])} for row in pairs], ["method", "map"])
    return pairs + [{**labels, **row} for row in over_all]


def _means(rows: Sequence[Row], columns: Sequence[str]) -> list[Row]:
    return [
        dict(zip(columns, labels, strict=True))
        | {name: float(np.mean([row[name] for row in group])) for name in ("mae", "bias")}
        for labels, group in group_rows(rows, columns).items()
    ]


def rounded_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows with SIGNIFICANT_DIGITS."""

    def rounded(value: Any) -> Any:
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value

    return [{name: rounded(value) for name, value in row.items()} for row in rows]


def short_table(rows: Sequence[Row]) -> str:
    """The rows over all pairs as aligned text."""
    over_all = [row for row in rows if row["source"] == ALL_PAIRS]
    return aligned(over_all, ["method", "map", "mae", "bias"])
