"""Gradient tables of diffusion series, checked on reading."""

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
"""Largest b-value (s/mm2) of a volume that counts as b=0."""

MAX_B_VALUE_S_PER_MM2 = 50_000.0
"""Largest plausible b-value (s/mm2); values in s/m2 are a million times larger."""

MIN_DIRECTION_LENGTH = 0.1
"""Length below which a gradient direction counts as missing."""

UNIT_LENGTH_TOLERANCE = 0.05
"""Deviation of a direction's length from 1 above which a warning is logged."""


@frozen(eq=False)
class GradientTable:
    """b-values (N,) in s/mm2 and unit directions (N, 3), zero for b=0 volumes."""

    bvals: NDArray[np.float64]
    bvecs: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.bvals)


def read_gradient_table(
    image: Path, bval: Path | None, bvec: Path | None, volume_count: int
) -> GradientTable:
    """Read the gradient table of a series; its directions are scaled to unit length.

    Raises
    ------
    BadData
        A file is missing or unreadable, its length is not that of the series, the b-values are not
        in s/mm2 or all equal, or a diffusion-weighted volume has no direction.
    """
    values = _read(image, bval, "bval").ravel()
    vectors = _read(image, bvec, "bvec")
    _check_lengths(image, values, vectors, volume_count)
    _check_values(bval or image, values)
    return GradientTable(values, _unit_directions(bvec or image, values, vectors.T))


def _read(image: Path, path: Path | None, extension: str) -> NDArray[np.float64]:
    """Read the numbers of one file (rows, columns)."""
    if path is None:
        raise BadData(
            f"{image}: has no .{extension} file beside or above it; add it, or convert the series "
            "again."
        )
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        numbers = np.array([row for row in rows if row], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise BadData(
            f"{path}: not a readable table of numbers; convert {image} again."
        ) from error
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise BadData(f"{path}: is empty or contains NaN; convert {image} again.")
    return numbers


def _check_lengths(
    image: Path, values: NDArray[np.float64], vectors: NDArray[np.float64], volume_count: int
) -> None:
    if vectors.shape == (volume_count, 3) and volume_count != 3:
        raise BadData(
            f"{image}: its .bvec file has {vectors.shape[0]} rows of 3 numbers instead of 3 rows; "
            "transpose it."
        )
    if vectors.shape[0] != 3:
        raise BadData(
            f"{image}: its .bvec file has {vectors.shape[0]} rows instead of 3; correct it."
        )
    if not len(values) == vectors.shape[1] == volume_count:
        raise BadData(
            f"{image}: has {volume_count} volumes, but {len(values)} b-values and "
            f"{vectors.shape[1]} directions; use the gradient table of this series."
        )


def _check_values(path: Path, values: NDArray[np.float64]) -> None:
    largest, smallest = float(values.max()), float(values.min())
    if smallest < 0 or largest > MAX_B_VALUE_S_PER_MM2:
        raise BadData(
            f"{path}: b-values range from {smallest:g} to {largest:g}, which cannot be s/mm2; "
            "convert them to s/mm2."
        )
    if 0 < largest <= MAX_B0_S_PER_MM2 and np.unique(values).size > 1 and largest >= 10 * smallest:
        raise BadData(
            f"{path}: the largest b-value is {largest:g}; if the unit is ms/um2, multiply by "
            "1000, since BIDS requires s/mm2."
        )
    if largest <= MAX_B0_S_PER_MM2:
        raise BadData(
            f"{path}: all b-values are {largest:g} or less, so no volume is diffusion-weighted; "
            "exclude this series."
        )
    if smallest > MAX_B0_S_PER_MM2:
        raise BadData(
            f"{path}: no volume has a b-value of {MAX_B0_S_PER_MM2:g} s/mm2 or less, and a b=0 "
            "reference is needed; merge the b0 volumes into the series."
        )


def _unit_directions(
    path: Path, values: NDArray[np.float64], vectors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scale directions (N, 3) to unit length; those of b=0 volumes become zero."""
    length = np.sqrt((vectors**2).sum(axis=1))
    weighted = values > MAX_B0_S_PER_MM2
    missing = np.flatnonzero(weighted & (length < MIN_DIRECTION_LENGTH))
    if missing.size:
        first = missing[0]
        raise BadData(
            f"{path}: volume {first + 1} has b-value {values[first]:g} but no direction, like a "
            "mean (trace) image; remove it and its entries in the gradient table."
        )
    if np.abs(length[weighted] - 1).max() > UNIT_LENGTH_TOLERANCE:
        LOGGER.warning("%s: directions do not have unit length and are normalized.", path)
    safe = np.where(length > 0, length, 1)[:, None]
    return np.asarray(np.where(weighted[:, None], vectors / safe, 0.0))
