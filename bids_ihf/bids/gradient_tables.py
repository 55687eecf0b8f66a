"""Reading the gradient table of a diffusion series, and saying what is wrong with it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LOGGER = logging.getLogger(__name__)

MAX_B0_S_PER_MM2 = 50.0
"""Largest b-value (s/mm2) of a volume that counts as without diffusion weighting."""

MAX_B_VALUE_S_PER_MM2 = 50_000.0
"""b-value (s/mm2) that no scanner reaches; s/m2 are a million times larger."""

UNIT_LENGTH_TOLERANCE = 0.05
"""By how much the length of a direction may differ from 1 without a word."""


@frozen(eq=False)
class GradientTable:
    """b-values (N,) in s/mm2 and unit directions (N, 3), zero where there is no weighting."""

    bvals: NDArray[np.float64]
    bvecs: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.bvals)


def read_gradient_table(
    image: Path, bval: Path | None, bvec: Path | None, volumes: int
) -> GradientTable:
    """The gradient table of a series of so many volumes, its directions made unit vectors.

    Raises
    ------
    BadData
        A file is missing or unreadable, its length is not that of the series, b-values are no
        s/mm2 or all alike, or a weighted volume has no direction.
    """
    values = _read(image, bval, "bval").ravel()
    vectors = _read(image, bvec, "bvec")
    _check_lengths(image, values, vectors, volumes)
    _check_values(bval or image, values)
    return GradientTable(values, _unit(bvec or image, values, vectors.T))


def _read(image: Path, path: Path | None, kind: str) -> NDArray[np.float64]:
    """The numbers of one file (rows, columns)."""
    if path is None:
        raise BadData(
            f"{image}: has no .{kind} file beside or above it; put its b-table there, or convert "
            "the series again."
        )
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        numbers = np.array([row for row in rows if row], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise BadData(
            f"{path}: not a readable table of numbers; convert {image} again."
        ) from error
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise BadData(f"{path}: is empty or holds NaN; convert {image} again.")
    return numbers


def _check_lengths(
    image: Path, values: NDArray[np.float64], vectors: NDArray[np.float64], volumes: int
) -> None:
    if vectors.shape == (volumes, 3) and volumes != 3:
        raise BadData(
            f"{image}: its .bvec file has {vectors.shape[0]} rows of 3 numbers where BIDS has 3 "
            "rows; turn it round."
        )
    if vectors.shape[0] != 3:
        raise BadData(f"{image}: its .bvec file has {vectors.shape[0]} rows and not 3; mend it.")
    if not len(values) == vectors.shape[1] == volumes:
        raise BadData(
            f"{image}: has {volumes} volumes, but {len(values)} b-values and {vectors.shape[1]} "
            "directions; use the b-table of this very series."
        )


def _check_values(path: Path, values: NDArray[np.float64]) -> None:
    largest, smallest = float(values.max()), float(values.min())
    if smallest < 0 or largest > MAX_B_VALUE_S_PER_MM2:
        raise BadData(
            f"{path}: b-values go from {smallest:g} to {largest:g}, which cannot be s/mm2; give "
            "them in s/mm2."
        )
    if 0 < largest <= MAX_B0_S_PER_MM2 and np.unique(values).size > 1 and largest >= 10 * smallest:
        raise BadData(
            f"{path}: the largest b-value is {largest:g}; were it in ms/um2 it had to be "
            "multiplied by 1000, since BIDS has s/mm2."
        )
    if largest <= MAX_B0_S_PER_MM2:
        raise BadData(
            f"{path}: all b-values are {largest:g} or less, so nothing is diffusion-weighted; "
            "exclude this series."
        )
    if smallest > MAX_B0_S_PER_MM2:
        raise BadData(
            f"{path}: no volume has a b-value of {MAX_B0_S_PER_MM2:g} s/mm2 or less, and a b=0 "
            "reference is needed; merge the b0 volumes into the series."
        )


def _unit(
    path: Path, values: NDArray[np.float64], vectors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Unit directions (N, 3), zero where there is no weighting."""
    length = np.sqrt((vectors**2).sum(axis=1))
    weighted = values > MAX_B0_S_PER_MM2
    lost = np.flatnonzero(weighted & (length < 0.1))
    if lost.size:
        raise BadData(
            f"{path}: volume {lost[0] + 1} has b-value {values[lost[0]]:g} but no direction, as "
            "a mean (trace) image has; take it and its b-table entry out of the series."
        )
    if np.abs(length[weighted] - 1).max() > UNIT_LENGTH_TOLERANCE:
        LOGGER.warning("%s: directions are not of length 1; they are taken as directions.", path)
    safe = np.where(length > 0, length, 1)[:, None]
    return np.asarray(np.where(weighted[:, None], vectors / safe, 0.0))
