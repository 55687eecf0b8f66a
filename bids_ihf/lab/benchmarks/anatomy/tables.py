"""Tables of anatomy preservation, by pair and by method, and of the read-out of statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.lab.benchmarks.metrics.edges import MAX_EDGE_SHIFT_MM
from bids_ihf.lab.benchmarks.tables import Column, Table, group_rows
from bids_ihf.lab.benchmarks.vendors.methods import METHOD_DESCRIPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.lab.benchmarks.tables import Row

TISSUE_NAMES = {"grey": "grey matter", "white": "white matter", "csf": "CSF"}

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
        for tissue, name in TISSUE_NAMES.items()
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
    "method": Column("What harmonized the scan", levels=METHOD_DESCRIPTIONS),
}
SUBJECT_COLUMNS = {"subject": Column("Label map of the simulated subject, who has lesions")} | (
    PAIR_LABELS | ANATOMY_METRICS
)
ANATOMY_COLUMNS = (
    PAIR_LABELS
    | {"subjects": Column("Number of subjects; metrics are means over them")}
    | ANATOMY_METRICS
)
_OVER_PAIRS = "; mean over subjects and ordered pairs of different vendors"
METHOD_COLUMNS: dict[str, Column] = {
    "modality": PAIR_LABELS["modality"],
    "method": PAIR_LABELS["method"],
    "subjects": Column("Number of subjects"),
    **{
        f"dice_{tissue}_change": Column(
            f"Dice of {name} with the reference segmentation, after minus before{_OVER_PAIRS}", "1"
        )
        for tissue, name in TISSUE_NAMES.items()
    },
    **{
        f"edge_shift_{name}": Column(_EDGE_TEXTS[name][0] + _OVER_PAIRS, _EDGE_TEXTS[name][1])
        for name in ("median", "p95", "lost")
    },
    "lesion_kept_low": Column(f"{_LESION_TEXT}, the pair of the least mean over subjects", "1"),
    "lesion_kept_high": Column(f"{_LESION_TEXT}, the pair of the largest mean", "1"),
    "lesion_deviation": Column(f"Absolute difference of lesion_kept from 1{_OVER_PAIRS}", "1"),
    "lesion_deviation_target": Column(
        f"Absolute difference of lesion_kept from lesion_kept_target{_OVER_PAIRS}", "1"
    ),
    "own_change_over_repeat": Column(
        _CHANGE_TEXT.format("harmonized to the vendor's target")
        + "; mean over subjects and vendors",
        "1",
    ),
}
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
    """Means over subjects for each modality, pair of vendors and method, missing values left
    out."""
    table: list[Row] = []
    for values, group in group_rows(rows, list(PAIR_LABELS)).items():
        line: Row = dict(zip(PAIR_LABELS, values, strict=True))
        line["subjects"] = len({row["subject"] for row in group})
        table.append(line | {name: _mean(group, name) for name in ANATOMY_METRICS})
    return table


def by_method(rows: Sequence[Row]) -> list[Row]:
    """What each method does to anatomy over all pairs of vendors, for each modality."""
    table: list[Row] = []
    for (modality, method), group in group_rows(rows, ["modality", "method"]).items():
        own = [row for row in group if row["source"] == row["target"]]
        pairs = [row | _differences(row) for row in group if row["source"] != row["target"]]
        lesions = [row["lesion_kept"] for row in by_pair(pairs)]
        line: Row = {"modality": modality, "method": method}
        line["subjects"] = len({row["subject"] for row in group})
        line |= {name: _mean(pairs, name) for name in METHOD_COLUMNS if name not in line}
        line |= {"lesion_kept_low": np.min(lesions), "lesion_kept_high": np.max(lesions)}
        line["own_change_over_repeat"] = _mean(own, "own_change_over_repeat")
        table.append(line)
    return table


def _differences(row: Row) -> Row:
    change: Row = {
        f"dice_{tissue}_change": row[f"dice_{tissue}_after"] - row[f"dice_{tissue}_before"]
        for tissue in TISSUE_NAMES
    }
    kept = row["lesion_kept"]
    truth = row.get("lesion_kept_target", np.nan)
    return change | {
        "lesion_deviation": abs(kept - 1), "lesion_deviation_target": abs(kept - truth)
    }  # fmt: skip


def _mean(rows: Sequence[Row], name: str) -> float:
    values = [row[name] for row in rows if np.isfinite(row.get(name, np.nan))]
    return float(np.mean(values)) if values else float("nan")


def anatomy_tables(rows: Sequence[Row], readout: Sequence[Row]) -> dict[str, Table]:
    """The tables by name."""
    return {
        "anatomy": Table(by_pair(rows), ANATOMY_COLUMNS),
        "anatomy_methods": Table(by_method(rows), METHOD_COLUMNS),
        "anatomy_subjects": Table(rows, SUBJECT_COLUMNS),
        "readout": Table(readout, READOUT_COLUMNS),
    }
