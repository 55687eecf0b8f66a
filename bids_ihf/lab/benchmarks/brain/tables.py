"""Tables of the brain benchmark: masks, tissues and registration by condition and by pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.lab.benchmarks.tables import Column, Table, group_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bids_ihf.lab.benchmarks.tables import Row

MEAN_METRICS = ("dice", "hd95_mm", "dice_grey", "dice_white", "dice_csf", "mask_s", "align_s")
ALL_ROWS = "all"
"""Condition, or pose, of the rows over all."""

POSE_OUTCOMES: dict[str, Column] = {
    "found": Column("Error below 10 mm"),
    "doubted": Column("Error below 10 mm, but a warning"),
    "refused needlessly": Column("Error below 10 mm, but refused"),
    "warned": Column("Error of 10 mm or more, with a warning"),
    "refused": Column("Error of 10 mm or more, and refused"),
    "silent": Column("Error of 10 mm or more, and not noticed"),
}
"""What may become of a head in some pose."""

ALL_DESCRIPTIONS: dict[str, Column] = {
    "subject": Column("Label map of the simulated subject"),
    "modality": Column("T1w or T2w"),
    "condition": Column("Contrast of the scan, or what was done to the Siemens T1w scan"),
    "method": Column("ours, or the mask of head-01 registered by antspyx SyN at 2 mm (atlas)"),
    "scans": Column("Number of scans"),
    "dice": Column("Dice of the brain mask with the true one on the scan's grid, mean", "1"),
    "dice_least": Column("Dice of the worst scan", "1"),
    "hd95_mm": Column("95th percentile of the distance of the masks' surfaces, mean", "mm"),
    "hd95_mm_most": Column("95th percentile of the surface distance, worst scan", "mm"),
    "dice_grey": Column("Dice of the fractions of grey matter at 2 mm, mean", "1"),
    "dice_white": Column("Dice of the fractions of white matter at 2 mm, mean", "1"),
    "dice_csf": Column("Dice of the fractions of CSF in the mask at 2 mm, mean", "1"),
    "mask_s": Column("Time of the mask, one thread, mean", "s"),
    "align_s": Column("Time of the registration, one thread, mean", "s"),
    "similarity": Column("Similarity to the template after registration", "1"),
    "similarity_least": Column("Similarity to the template after registration, worst scan", "1"),
    "coverage": Column("Fraction of the template's brain that the segmented brain covers", "1"),
    "error_mm": Column("Largest error of the transform to the template on a 70 mm sphere", "mm"),
    "error_mm_most": Column("Error of the transform to the template, worst scan", "mm"),
    "error_mm_median": Column("Error of the transform to the template, median", "mm"),
    "error_mm_p95": Column("Error of the transform to the template, 95th percentile", "mm"),
    "pose": Column("What was done to the scan"),
    "outcome": Column("What became of it, one of the columns of brain_poses.tsv"),
    "seconds": Column("Time of mask and registration of a 2 mm scan, one thread", "s"),
    **POSE_OUTCOMES,
}


def _columns(*names: str) -> dict[str, Column]:
    return {name: ALL_DESCRIPTIONS[name] for name in names}


CONDITION_COLUMNS = _columns(
    "condition", "method", "scans", *MEAN_METRICS,
    "dice_least", "hd95_mm_most", "similarity_least", "error_mm_most",
)  # fmt: skip
SUBJECT_COLUMNS = _columns(
    "subject", "condition", "method", *MEAN_METRICS, "similarity", "error_mm"
)
POSE_COLUMNS = _columns(
    "pose", "scans", *POSE_OUTCOMES, "error_mm_median", "error_mm_p95", "seconds"
)
POSE_SUBJECT_COLUMNS = _columns(
    "subject", "modality", "pose", "outcome", "similarity", "coverage", "error_mm", "seconds"
)


def by_condition(rows: Sequence[Row]) -> list[Row]:
    """Means and worst cases by condition and method, and by method over all conditions."""
    table: list[Row] = []
    for (condition, method), group in group_rows(rows, ["condition", "method"]).items():
        table.append({"condition": condition, "method": method} | _summary(group))
    for (method,), group in group_rows(rows, ["method"]).items():
        table.append({"condition": ALL_ROWS, "method": method} | _summary(group))
    return table


def by_pose(rows: Sequence[Row]) -> list[Row]:
    """Outcomes counted by pose, and over all poses."""
    groups = sorted((pose, group) for (pose,), group in group_rows(rows, ["pose"]).items())
    table: list[Row] = []
    for pose, group in (*groups, (ALL_ROWS, list(rows))):
        line: Row = {"pose": pose, "scans": len(group)}
        line |= {name: sum(row["outcome"] == name for row in group) for name in POSE_OUTCOMES}
        line["error_mm_median"] = _over(group, "error_mm", np.nanmedian)
        line["error_mm_p95"] = _over(group, "error_mm", lambda x: np.nanpercentile(x, 95))
        line["seconds"] = _over(group, "seconds", np.nanmean)
        table.append(line)
    return table


def brain_tables(masks: Sequence[Row], poses: Sequence[Row]) -> dict[str, Table]:
    """The tables by name, from the rows of each scan and of each pose."""
    return {
        "brain": Table(by_condition(masks), CONDITION_COLUMNS),
        "brain_subjects": Table(masks, SUBJECT_COLUMNS),
        "brain_poses": Table(by_pose(poses), POSE_COLUMNS),
        "brain_poses_subjects": Table(poses, POSE_SUBJECT_COLUMNS),
    }


def _summary(rows: Sequence[Row]) -> Row:
    line: Row = {"scans": len(rows)}
    line |= {name: _over(rows, name, np.nanmean) for name in MEAN_METRICS}
    line["dice_least"] = _over(rows, "dice", np.nanmin)
    line["hd95_mm_most"] = _over(rows, "hd95_mm", np.nanmax)
    line["similarity_least"] = _over(rows, "similarity", np.nanmin)
    line["error_mm_most"] = _over(rows, "error_mm", np.nanmax)
    return line


def _over(rows: Sequence[Row], name: str, statistic: Callable[..., Any]) -> float:
    values = np.array([row.get(name, np.nan) for row in rows], dtype=float)
    return float(statistic(values)) if np.isfinite(values).any() else float("nan")
