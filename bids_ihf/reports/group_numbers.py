"""What the group shows of its scanners: how well they are told apart, and how much they vary."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.qc.readout import ReadOut, read_out
from bids_ihf.reports.group_data import on_axes, statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.reports.group_data import Member

FOLDS = 5
FEWEST = 4
"""Images that a scanner needs to be counted."""

VARIANCE_OF = {
    "contrast": "Grey over white matter",
    "grey_ml": "Volume of grey matter",
    "white_ml": "Volume of white matter",
    "csf_ml": "Volume of fluid",
}


@frozen
class Separability:
    """How well a classifier names the scanner of images of people it has not seen."""

    before: ReadOut
    after: ReadOut
    images: int
    people: int


@frozen
class Variance:
    """Share of the variance of a measure that lies between scanners, and what would by chance."""

    measure: str
    before: float
    after: float
    chance: float
    images: int


def _enough(names: Sequence[str]) -> list[bool]:
    """Whether each name occurs at least FEWEST times."""
    counts = Counter(names)
    return [counts[name] >= FEWEST for name in names]


def separability(group: Sequence[Member]) -> Separability | None:
    """Tell scanners apart by the encoder's statistics; None where there are too few to try.

    Linear discriminants on principal axes, which are found without knowing scanners; people are
    dealt to FOLDS parts, each left out in turn.
    """
    known, data = statistics(group)
    rows = np.array(_enough([member.scanner for member in known]), dtype=bool)
    known = [member for member, row in zip(known, rows, strict=True) if row]
    people = sorted({member.image.subject for member in known})
    if len({member.scanner for member in known}) < 2 or len(people) < 2:
        return None
    placed, _ = on_axes(data[:, rows])
    scanners = np.array([member.scanner for member in known])
    part = {person: number % FOLDS for number, person in enumerate(people)}
    folds = np.array([part[member.image.subject] for member in known])
    before, after = (read_out(side, scanners, folds, standardize=False) for side in placed)
    return Separability(before, after, len(known), len(people))


def variances(group: Sequence[Member]) -> list[Variance]:
    """Analysis of variance of each measure over scanners, before and after."""
    found = []
    for measure in VARIANCE_OF:
        rows = [
            (member.scanner, before, after)
            for member in group
            if (before := member.image.number(f"{measure}_before")) is not None
            and (after := member.image.number(f"{measure}_after")) is not None
        ]
        kept = _enough([row[0] for row in rows])
        rows = [row for row, keep in zip(rows, kept, strict=True) if keep]
        scanners = np.array([row[0] for row in rows])
        kinds = len(set(scanners.tolist()))
        if kinds < 2:
            continue
        found.append(
            Variance(
                measure,
                between(np.array([row[1] for row in rows]), scanners),
                between(np.array([row[2] for row in rows]), scanners),
                (kinds - 1) / (len(rows) - 1),
                len(rows),
            )
        )
    return found


def between(values: NDArray[np.float64], names: NDArray[np.str_]) -> float:
    """Share of the sum of squares of values (N,) that lies between groups (eta squared).

    >>> between(np.array([1.0, 1.0, 3.0, 3.0]), np.array(["a", "a", "b", "b"]))
    1.0
    """
    total = float(np.square(values - values.mean()).sum())
    if total <= 0:
        return 0.0
    inside = sum(
        float(np.square(values[names == name] - values[names == name].mean()).sum())
        for name in np.unique(names)
    )
    return 1 - inside / total
