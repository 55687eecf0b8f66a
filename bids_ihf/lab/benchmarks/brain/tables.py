"""Tables of how well brains are found, and their dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.lab.benchmarks.vendors.tables import describe, to_tsv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bids_ihf.lab.benchmarks.table import Row

MEANS = ("dice", "hd95_mm", "dice_grey", "dice_white", "dice_csf", "mask_s", "align_s")
COLUMNS = (
    "condition", "method", "scans", *MEANS,
    "dice_least", "hd95_mm_most", "similarity_least", "error_mm_most",
)  # fmt: skip
SUBJECT_COLUMNS = ("subject", "condition", "method", *MEANS, "similarity", "error_mm")
OUTCOMES = ("found", "doubted", "refused needlessly", "warned", "refused", "silent")
POSE_COLUMNS = ("pose", "scans", *OUTCOMES, "error_mm_median", "error_mm_p95", "seconds")
POSE_SUBJECT_COLUMNS = (
    "subject", "modality", "pose", "outcome", "similarity", "coverage", "error_mm", "seconds",
)  # fmt: skip
ALL = "all"

DESCRIPTIONS: dict[str, tuple[str, str | None]] = {
    "subject": ("Label map of the simulated person", None),
    "modality": ("T1w or T2w", None),
    "condition": ("Contrast of the scan, or what was done to the Siemens T1w scan", None),
    "method": ("ours, or the mask of head-01 laid over by antspyx SyN at 2 mm (atlas)", None),
    "scans": ("Number of scans", None),
    "dice": ("Dice of the brain mask with the known one on the scan's grid, mean", "1"),
    "dice_least": ("Dice of the worst scan", "1"),
    "hd95_mm": ("95th percentile of the distance of the masks' surfaces, mean", "mm"),
    "hd95_mm_most": ("95th percentile of the distance of the masks' surfaces, worst scan", "mm"),
    "dice_grey": ("Overlap of the shares of grey matter at 2 mm, mean", "1"),
    "dice_white": ("Overlap of the shares of white matter at 2 mm, mean", "1"),
    "dice_csf": ("Overlap of the shares of fluid in the mask at 2 mm, mean", "1"),
    "mask_s": ("Time of the mask, one thread, mean", "s"),
    "align_s": ("Time of the alignment, one thread, mean", "s"),
    "similarity": ("Likeness to the template after alignment", "1"),
    "similarity_least": ("Likeness to the template after alignment, worst scan", "1"),
    "coverage": ("Share of the template's brain that the brain found lies on", "1"),
    "error_mm": ("Largest distance from the true way to the template, on a 70 mm sphere", "mm"),
    "error_mm_most": ("Largest distance from the true way to the template, worst scan", "mm"),
    "error_mm_median": ("Distance from the true way to the template, median", "mm"),
    "error_mm_p95": ("Distance from the true way to the template, 95th percentile", "mm"),
    "pose": ("What was done to the scan", None),
    "outcome": ("What became of it, one of the columns of brain_poses.tsv", None),
    "seconds": ("Time of mask and alignment of a 2 mm scan, one thread", "s"),
    "found": ("Error below 10 mm", None),
    "doubted": ("Error below 10 mm, but a warning", None),
    "refused needlessly": ("Error below 10 mm, but refused", None),
    "warned": ("Error of 10 mm or more, with a warning", None),
    "refused": ("Error of 10 mm or more, and refused", None),
    "silent": ("Error of 10 mm or more, and not noticed", None),
}


def by_condition(rows: Sequence[Row]) -> list[Row]:
    """Means and worst cases by condition and method, and of each method over all."""
    out: list[Row] = []
    for key, own in _groups(rows, ("condition", "method")).items():
        out.append({"condition": key[0], "method": key[1]} | _summary(own))
    for (method,), own in _groups(rows, ("method",)).items():
        out.append({"condition": ALL, "method": method} | _summary(own))
    return out


def by_pose(rows: Sequence[Row]) -> list[Row]:
    """Outcomes counted by pose, and over all."""
    groups = {key[0]: own for key, own in sorted(_groups(rows, ("pose",)).items())}
    out: list[Row] = []
    for pose, own in (*groups.items(), (ALL, list(rows))):
        line: Row = {"pose": pose, "scans": len(own)}
        line |= {name: sum(row["outcome"] == name for row in own) for name in OUTCOMES}
        line["error_mm_median"] = _over(own, "error_mm", np.nanmedian)
        line["error_mm_p95"] = _over(own, "error_mm", lambda x: np.nanpercentile(x, 95))
        line["seconds"] = _over(own, "seconds", np.nanmean)
        out.append(line)
    return out


def brain_files(
    masks: Sequence[Row], poses: Sequence[Row], about: Mapping[str, Any]
) -> dict[str, bytes]:
    """Name to content of the tables and their dictionaries."""
    found = {}
    for name, table, columns in (
        ("brain", by_condition(masks), COLUMNS),
        ("brain_subjects", masks, SUBJECT_COLUMNS),
        ("brain_poses", by_pose(poses), POSE_COLUMNS),
        ("brain_poses_subjects", poses, POSE_SUBJECT_COLUMNS),
    ):
        found[f"{name}.tsv"] = to_tsv(table, columns)
        found[f"{name}.json"] = describe(columns, DESCRIPTIONS, about)
    return found


def _groups(rows: Sequence[Row], names: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _summary(rows: Sequence[Row]) -> Row:
    line: Row = {"scans": len(rows)}
    line |= {name: _over(rows, name, np.nanmean) for name in MEANS}
    line["dice_least"] = _over(rows, "dice", np.nanmin)
    line["hd95_mm_most"] = _over(rows, "hd95_mm", np.nanmax)
    line["similarity_least"] = _over(rows, "similarity", np.nanmin)
    line["error_mm_most"] = _over(rows, "error_mm", np.nanmax)
    return line


def _over(rows: Sequence[Row], name: str, measure: Callable[..., Any]) -> float:
    values = np.array([row.get(name, np.nan) for row in rows], dtype=float)
    return float(measure(values)) if np.isfinite(values).any() else float("nan")
