"""Gradient tables of diffusion series, checked on reading."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.errors import BadData

LOGGER = logging.getLogger(__name__)

MAX_B0_S_PER_MM2 = 50.0
"""Largest b-value (s/mm2) of a volume that counts as b=0, unless the lowest b-values are clearly
apart from the others or the user names another."""

MAX_CLUSTER_B0_S_PER_MM2, MAX_B0_GAP_S_PER_MM2 = 150.0, 25.0
"""Largest b-value of the lowest cluster that counts as b=0, and largest gap between two b-values
of it (s/mm2): with imaging gradients counted, b0 volumes at 7 T have b-values of 55 to 70."""

MIN_SHELL_B_RATIO = 3.0
"""Smallest b-value of a shell, relative to that cluster's largest."""

MAX_B_VALUE_S_PER_MM2 = 50_000.0
"""Largest plausible b-value (s/mm2); values in s/m2 are a million times larger."""

MIN_DIRECTION_LENGTH = 0.1
"""Length below which a gradient direction counts as missing."""

UNIT_LENGTH_TOLERANCE = 0.05
"""Deviation of a direction's length from 1 above which a warning is logged, and range of lengths
at one b-value above which these code shells; rounding to two digits gives 0.01."""

MAX_MS_PER_UM2 = 20.0
"""b-values up to this may be in ms/um2."""


@frozen(eq=False)
class GradientTable:
    """b-values (N,) in s/mm2 and unit directions (N, 3); both are zero for volumes above
    MAX_B0_S_PER_MM2 that count as b=0."""

    bvals: NDArray[np.float64]
    bvecs: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.bvals)


def read_gradient_table(
    image: Path,
    bval: Path | None,
    bvec: Path | None,
    volume_count: int,
    b0_threshold: float | None = None,
) -> GradientTable:
    """Read the gradient table of a series; its directions are scaled to unit length.

    Shells may be coded in the lengths of the directions: where these differ at one b-value, it is
    multiplied by the squared length, as in MRtrix3.  `b0_threshold` is the largest b-value that
    counts as b=0 (s/mm2); None: the lowest cluster that is clearly apart, see :func:`find_b0`.

    Raises
    ------
    BadData
        A file is missing or unreadable, its length is not that of the series, the b-values are not
        in s/mm2 or all equal, or a diffusion-weighted volume has no direction.
    """
    values = read_numbers(image, bval, "bval").ravel()
    vectors = read_numbers(image, bvec, "bvec", allow_nan=True)
    _check_lengths(image, values, vectors, volume_count)
    values = _decode_lengths(bvec or image, values, vectors.T)
    b0 = find_b0(values) if b0_threshold is None else max(b0_threshold, MAX_B0_S_PER_MM2)
    _check_values(bval or image, values, b0)
    unweighted = values <= b0
    directions = _unit_directions(bvec or image, values, vectors.T, ~unweighted)
    values = np.where(unweighted & (values > MAX_B0_S_PER_MM2), 0.0, values)
    return GradientTable(values, directions)


def find_b0(values: NDArray[np.float64]) -> float:
    """The largest b-value (s/mm2) that counts as b=0, at least MAX_B0_S_PER_MM2: that of the
    lowest cluster where it is clearly below the next b-value.

    >>> find_b0(np.array([55.0, 65, 70, 995, 1005])), find_b0(np.array([0.0, 100, 1000]))
    (70.0, 50.0)
    """
    ordered = np.sort(values)
    gaps = np.flatnonzero(np.diff(ordered) > MAX_B0_GAP_S_PER_MM2)
    if gaps.size:
        largest, following = float(ordered[gaps[0]]), float(ordered[gaps[0] + 1])
        if (
            MAX_B0_S_PER_MM2
            < largest
            <= min(MAX_CLUSTER_B0_S_PER_MM2, following / MIN_SHELL_B_RATIO)
        ):
            return largest
    return MAX_B0_S_PER_MM2


def read_numbers(
    image: Path, path: Path | None, extension: str, *, allow_nan: bool = False
) -> NDArray[np.float64]:
    """Read the numbers of one file (rows, columns), separated by blanks or commas."""
    if path is None:
        raise BadData(
            f"{image}: has no .{extension} file beside or above it; add it, or convert the series "
            "again."
        )
    try:
        text = path.read_text(encoding="utf-8-sig").replace(",", " ")
        rows = [line.split() for line in text.splitlines()]
        numbers = np.array([row for row in rows if row], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise BadData(
            f"{path}: not a readable table of numbers; convert {image} again."
        ) from error
    if numbers.size == 0 or not (allow_nan or np.isfinite(numbers).all()):
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


def _decode_lengths(
    path: Path, values: NDArray[np.float64], vectors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """b-values (N,), times the squared lengths of directions (N, 3) where these code shells."""
    lengths = np.linalg.norm(np.nan_to_num(vectors), axis=1)
    weighted = (values > MAX_B0_S_PER_MM2) & (lengths >= MIN_DIRECTION_LENGTH)
    ranges = [
        np.ptp(lengths[weighted & np.isclose(values, b, rtol=0.01)])
        for b in np.unique(values[weighted])
    ]
    if max(ranges, default=0.0) <= UNIT_LENGTH_TOLERANCE:
        if np.abs(lengths[weighted] - 1).max(initial=0) > UNIT_LENGTH_TOLERANCE:
            LOGGER.warning("%s: directions do not have unit length and are normalized.", path)
        return values
    LOGGER.warning(
        "%s: directions of one b-value differ in length, which codes shells; b-values are "
        "multiplied by the squared length.",
        path,
    )
    # A volume without direction is a b0 volume only where there is no other.
    coded = weighted if values.min() <= MAX_B0_S_PER_MM2 else np.ones_like(weighted)
    return np.where(coded, values * lengths**2, values)


def is_in_ms_per_um2(values: NDArray[np.float64]) -> bool:
    """Whether b-values are so small that the unit is ms/um2, and not those of b0 volumes."""
    largest, smallest = float(values.max()), float(values.min())
    weighted_count = np.count_nonzero(values > 0)
    return bool(
        0 < largest <= MAX_MS_PER_UM2
        and largest >= 10 * smallest
        and (largest < 5 or weighted_count >= 6)
    )


def _check_values(path: Path, values: NDArray[np.float64], b0: float) -> None:
    largest, smallest = float(values.max()), float(values.min())
    if smallest < 0 or largest > MAX_B_VALUE_S_PER_MM2:
        raise BadData(
            f"{path}: b-values range from {smallest:g} to {largest:g}, which cannot be s/mm2; "
            "convert them to s/mm2."
        )
    if is_in_ms_per_um2(values):
        raise BadData(
            f"{path}: the largest b-value is {largest:g}; if the unit is ms/um2, multiply by "
            "1000, since BIDS requires s/mm2."
        )
    if largest <= b0:
        raise BadData(
            f"{path}: all b-values are {largest:g} or less, so no volume is diffusion-weighted; "
            "exclude this series."
        )
    if smallest > b0:
        raise BadData(
            f"{path}: no volume has a b-value of {b0:g} s/mm2 or less, and a b=0 reference is "
            f"needed; merge the b0 volumes into the series, or, if those of {smallest:g} are b=0, "
            "say so with --b0-threshold."
        )


def _unit_directions(
    path: Path,
    values: NDArray[np.float64],
    vectors: NDArray[np.float64],
    weighted: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Scale directions (N, 3) to unit length; those of volumes not weighted become zero."""
    if not np.isfinite(vectors[weighted]).all():
        first = np.flatnonzero(weighted & ~np.isfinite(vectors).all(axis=1))[0]
        raise BadData(
            f"{path}: the direction of volume {first + 1} (b-value {values[first]:g}) contains "
            "NaN; remove the volume and its entries in the table, or convert the series again."
        )
    vectors = np.where(weighted[:, None], vectors, 0.0)
    length = np.sqrt((vectors**2).sum(axis=1))
    missing = np.flatnonzero(weighted & (length < MIN_DIRECTION_LENGTH))
    if missing.size:
        first = missing[0]
        raise BadData(
            f"{path}: volume {first + 1} has b-value {values[first]:g} but no direction, like a "
            "mean (trace) image; remove it and its entries in the gradient table."
        )
    safe = np.where(length > 0, length, 1)[:, None]
    return np.asarray(np.where(weighted[:, None], vectors / safe, 0.0))
