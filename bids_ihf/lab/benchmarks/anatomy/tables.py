"""Tables of anatomy preservation, and of the read-out of the encoder's statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.lab.benchmarks.metrics.edges import MAX_EDGE_SHIFT_MM
from bids_ihf.lab.benchmarks.tables import Column, Table, group_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.lab.benchmarks.tables import Row

_DICE_TEXT = (
    "Dice of {} with the reference segmentation, {} harmonization; Gaussian mixture of intensity"
)
_EDGE_TEXTS = {
    "median": ("Median displacement of edges along the gradient, within slices", "mm"),
    "p95": ("95th percentile of the displacement of edges", "mm"),
    "mean": ("Mean displacement of edges; positive where the darker tissue grew", "mm"),
    "lost": (f"Fraction of edges that are not found again within {MAX_EDGE_SHIFT_MM} mm", "1"),
}
_EDGE_PAIRS = {
    "": "from the scan to the harmonized scan",
    "_repeat": "from the scan to a second one by the same scanner: noise alone",
}
_LESION_TEXT = (
    "Contrast of lesions to the surrounding white matter over the contrast of grey to white "
    "matter, after over before"
)
_WORST, _TARGET = "; the lesion that lost most", "; 'after' is the target's own scan"
_CHANGE_TEXT = "RMSE of the change of a scan by the target scanner over that of a repeat scan, {}"

ANATOMY_METRICS: dict[str, Column] = {
    **{
        f"dice_{tissue}_{when}": Column(_DICE_TEXT.format(name, when), "1")
        for tissue, name in (("grey", "grey matter"), ("white", "white matter"), ("csf", "CSF"))
        for when in ("before", "after")
    },
    **{
        f"edge_shift_{name}{suffix}": Column(f"{text}, {pair}", units)
        for name, (text, units) in _EDGE_TEXTS.items()
        for suffix, pair in _EDGE_PAIRS.items()
    },
    "lesion_kept": Column(_LESION_TEXT, "1"),
    "lesion_kept_least": Column(_LESION_TEXT + _WORST, "1"),
    "lesion_kept_target": Column(_LESION_TEXT + _TARGET, "1"),
    "lesion_kept_least_target": Column(_LESION_TEXT + _WORST + _TARGET, "1"),
    "own_change_over_repeat": Column(
        _CHANGE_TEXT.format("harmonized to the vendor's target"), "1"
    ),
    "own_scanner_change_over_repeat": Column(
        _CHANGE_TEXT.format("harmonized to the repeat scan"), "1"
    ),
}
PAIR_LABELS: dict[str, Column] = {
    "modality": Column("T1w or T2w"),
    "source": Column("Vendor of the scan"),
    "target": Column("Vendor the scan is harmonized to"),
}
SUBJECT_COLUMNS = {"subject": Column("Label map of the simulated subject, who has lesions")} | (
    PAIR_LABELS | ANATOMY_METRICS
)
ANATOMY_COLUMNS = (
    PAIR_LABELS
    | {"subjects": Column("Number of subjects; metrics are means over them")}
    | ANATOMY_METRICS
)
READOUT_COLUMNS: dict[str, Column] = {
    "modality": PAIR_LABELS["modality"],
    "told_apart": Column("What the linear read-out classifies: scanner, or person (subject)"),
    "accuracy": Column(
        "Fraction of scans classified correctly; each subject, or scanner, in turn was left out "
        "of training",
        "1",
    ),
    "chance": Column("Accuracy of always naming the most frequent class", "1"),
    "permuted": Column("95th percentile of the accuracy under permuted labels", "1"),
    "classes": Column("Number of classes"),
    "scans": Column("Number of scans"),
    "variance": Column("Fraction of the variance of the standardized statistics", "1"),
}


def by_pair(rows: Sequence[Row]) -> list[Row]:
    """Means over subjects for each modality and pair of vendors, missing values left out."""
    table: list[Row] = []
    for (modality, source, target), pair in group_rows(rows, list(PAIR_LABELS)).items():
        line: Row = {"modality": modality, "source": source, "target": target}
        line["subjects"] = len({row["subject"] for row in pair})
        for name in ANATOMY_METRICS:
            values = [row[name] for row in pair if np.isfinite(row.get(name, np.nan))]
            line[name] = float(np.mean(values)) if values else float("nan")
        table.append(line)
    return table


def anatomy_tables(rows: Sequence[Row], readout: Sequence[Row]) -> dict[str, Table]:
    """The tables by name."""
    return {
        "anatomy": Table(by_pair(rows), ANATOMY_COLUMNS),
        "anatomy_subjects": Table(rows, SUBJECT_COLUMNS),
        "readout": Table(readout, READOUT_COLUMNS),
    }
