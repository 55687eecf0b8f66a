"""Recovered change, and change that there is not, from the volumes of two visits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.lab.benchmarks.tables import Column, Table, group_rows
from bids_ihf.lab.benchmarks.volumetry.change import METHODS, NO_CHANGE, SETTINGS
from bids_ihf.lab.benchmarks.volumetry.measures import TOOL_LEVELS
from bids_ihf.validation.agreement import mean_with_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.lab.benchmarks.tables import Row

LABEL_COLUMNS = {
    "setting": Column("Scanners of the two visits", levels=SETTINGS),
    "tool": Column("How tissues are told", levels=TOOL_LEVELS),
    "structure": Column("Structure whose tissue is measured within 3 mm of it"),
    "method": Column("What was done to the images", levels=METHODS),
}
CHANGE_COLUMNS = LABEL_COLUMNS | {
    "subjects": Column("Number of heads; measures are means over them"),
    "visits": Column("Number of second visits"),
    "slope": Column("Slope of measured on true change where this structure changed", "1"),
    "slope_low": Column("95 % interval of the slope over heads, Student's t: low", "1"),
    "slope_high": Column("The same, high", "1"),
    "at_no_change": Column("Measured change where nothing changed", "%"),
    "elsewhere": Column(
        "Mean absolute error of the measured change where another structure changed, less that "
        "where nothing did",
        "%",
    ),
    "mean_ml": Column("Mean volume in the region at the first visit", "mL"),
}
VISIT_COLUMNS = LABEL_COLUMNS | {
    "subject": Column("Label map of the simulated head"),
    "changed": Column(f"Structure that changed between the visits, or '{NO_CHANGE}'"),
    "percent": Column("By how much, of its volume", "%"),
    "true_percent": Column("True change of its tissue in the region, of its volume", "%"),
    "first_ml": Column("Volume in the region at the first visit", "mL"),
    "second_ml": Column("Volume in the region at the second visit", "mL"),
    "structure_ml": Column("True volume of the structure at the first visit", "mL"),
    "measured_percent": Column("Measured change, of the structure's true volume", "%"),
}


def change_tables(rows: Sequence[Row]) -> dict[str, Table]:
    """The tables by name: by method, and all visits."""
    visits = [row | {"measured_percent": _measured_percent(row)} for row in rows]
    summary = [
        dict(zip(LABEL_COLUMNS, labels, strict=True)) | _summary(members)
        for labels, members in group_rows(visits, list(LABEL_COLUMNS)).items()
    ]
    order = {name: number for number, name in enumerate(METHODS)}
    summary.sort(
        key=lambda row: (row["setting"], row["tool"], row["structure"], order[row["method"]])
    )
    return {
        "change": Table(summary, CHANGE_COLUMNS),
        "change_visits": Table(visits, VISIT_COLUMNS),
    }


def _measured_percent(row: Row) -> float:
    return float(100 * (row["second_ml"] - row["first_ml"]) / row["structure_ml"])


def _summary(rows: Sequence[Row]) -> Row:
    """Slope, false change and bias of a structure after one method."""
    slopes, zeros, elsewhere = [], [], []
    for members in group_rows(rows, ["subject"]).values():
        at_zero = next(row["measured_percent"] for row in members if row["changed"] == NO_CHANGE)
        own = [row for row in members if row["changed"] in (NO_CHANGE, row["structure"])]
        true, measured = (
            np.array([row[key] for row in own]) for key in ("true_percent", "measured_percent")
        )
        slopes.append(np.polyfit(true, measured, 1)[0] if len(set(true)) > 1 else np.nan)
        zeros.append(at_zero)
        others = [
            row["measured_percent"] - row["true_percent"] - at_zero
            for row in members
            if row not in own
        ]
        elsewhere.append(np.abs(others).mean() if others else np.nan)
    slope = mean_with_interval(np.array(slopes))
    return {
        "subjects": len(zeros),
        "visits": len(rows),
        "slope": slope.value,
        "slope_low": slope.low,
        "slope_high": slope.high,
        "at_no_change": float(np.mean(zeros)),
        "elsewhere": float(np.mean(elsewhere)),
        "mean_ml": float(np.mean([row["first_ml"] for row in rows])),
    }
