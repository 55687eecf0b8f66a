"""Where real scans lie in the range of simulated ones."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.lab.benchmarks.reality.measures import MEASURES
from bids_ihf.lab.benchmarks.tables import Column, Table, group_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.lab.benchmarks.tables import Row

SIMULATED_PERCENTILES = (1, 99)

SCAN_COLUMNS = {
    "scan": Column("File of a real scan; label map and number of a simulated one"),
    "source": Column("Whether the scan is real", levels={
        "real": "A scan of the folder", "simulated": "A scan by this version's simulator"}),
    "dataset": Column("Folder and group of people, site or session of a real scan; vendor of a "
                      "simulated one, or random"),
    "contrast": Column("T1w, T2w or FLAIR"),
    "voxels": Column("What is compared with each other", levels={
        "1 mm": "A volume with voxels of about 1 mm", "2 mm": "One of about 2 mm",
        "thick": "One with slices of 3 mm or more", "slice": "A single axial slice"}),
    **MEASURES,
}  # fmt: skip

RANGE_COLUMNS = {
    "measure": Column("Name of the measure, a column of reality.tsv"),
    "contrast": SCAN_COLUMNS["contrast"],
    "voxels": SCAN_COLUMNS["voxels"],
    "real_scans": Column("Real scans of which it was measured"),
    "real_min": Column("Least value of them"),
    "real_max": Column("Largest value of them"),
    "simulated_scans": Column("Simulated scans of which it was measured"),
    "simulated_low": Column("1st percentile of them"),
    "simulated_high": Column("99th percentile of them"),
    "below": Column("Real scans below the 1st percentile"),
    "above": Column("Real scans above the 99th percentile"),
    "outside": Column("The datasets of these, with the number of scans each"),
}


def range_rows(rows: Sequence[Row]) -> list[Row]:
    """For each contrast, voxel class and measure: both ranges, and the real scans outside."""
    table = []
    for (contrast, voxels), group in group_rows(rows, ("contrast", "voxels")).items():
        for name in MEASURES:
            real = [r for r in group if r["source"] == "real" and np.isfinite(r[name])]
            simulated = [
                r[name] for r in group if r["source"] == "simulated" and np.isfinite(r[name])
            ]
            if real and simulated:
                facts = _range_row(name, real, simulated)
                table.append({"measure": name, "contrast": contrast, "voxels": voxels, **facts})
    return table


def _range_row(name: str, real: Sequence[Row], simulated: Sequence[float]) -> Row:
    low, high = np.percentile(simulated, SIMULATED_PERCENTILES)
    values = [row[name] for row in real]
    below = Counter(row["dataset"] for row in real if row[name] < low)
    above = Counter(row["dataset"] for row in real if row[name] > high)
    which = [f"{name} {count}" for name, count in sorted((below + above).items())]
    return {
        "real_scans": len(real), "real_min": min(values), "real_max": max(values),
        "simulated_scans": len(simulated), "simulated_low": float(low),
        "simulated_high": float(high), "below": below.total(), "above": above.total(),
        "outside": ", ".join(which) or None,
    }  # fmt: skip


def reality_tables(rows: Sequence[Row]) -> dict[str, Table]:
    """All scans, and the ranges."""
    return {
        "reality": Table(rows, SCAN_COLUMNS),
        "reality_ranges": Table(range_rows(rows), RANGE_COLUMNS),
    }
