"""Intensities of the tissue by region, and the smooth field by which they differ from a target's.

What varies slowly over the brain - receive and transmit fields, what bias correction leaves of
them, contrast that changes with place - is a scanner's and the session's, and a curve of
intensities cannot see it.  Grey and white matter are compared with the target's, region by region,
each by itself: a region with more grey matter than is usual is no darker for that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Regions = NDArray[np.float64]
"""Of each region (P, X, Y, tissue, 2) the pixels of a tissue, and their intensities, summed."""

REGION_MM = 12.0
"""Side of a region in the axial plane, mm; its height is that of a slice position."""

POSITION_MM = 6.0
"""Distance of slice positions, mm."""

REGION_ORIGIN_MM = (-96.0, -132.0)
"""Template coordinates of the corner of the first region, mm."""

REGION_COUNT = (16, 20)
"""Regions in the axial plane, enough for the template's brain and its surroundings."""

COMPARED_TISSUES = 2
"""Tissues whose intensities are compared: grey and white matter, but not CSF, which moves."""

FIELD_SD_MM = 6.0
"""Standard deviation of the Gaussian that smooths regions, which are wider than that.  Between 5
mm, which has the smallest error on real traveling subjects, and 7 mm, which changes simulated
scans by the target's own scanner the least."""

PRIOR_PIXELS = 2.0
"""Pixels (2 x 2 mm) that a region counts as having beside its own, with the intensities of the
target, so that the field is 1 where there is no tissue."""

TINY_WEIGHT = 1e-6
"""Pixels that keep the mean of a region without tissue finite."""

MAX_FIELD_RATIO = 1.08
"""Largest ratio of intensities, and largest of its inverse, that is attributed to a field; larger
ones are contrast, lesions, or errors of a mask.  Of 1.07 to 1.2 on traveling subjects: T1w and
FLAIR are best at the least, T2w at the largest, and each is within 0.6 % of that at this one."""


def empty_regions(positions: int = 0) -> Regions:
    """Regions without any tissue."""
    return np.zeros((positions, *REGION_COUNT, COMPARED_TISSUES, 2))


def sum_by_region(
    rows: NDArray[np.intp],
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    level: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    *,
    positions: int,
) -> Regions:
    """Grey and white matter of each region: pixels, and intensities above no signal, summed.

    ``rows``, ``x`` and ``y`` (mm), and ``level`` (network units) are those of N pixels,
    ``probabilities`` (N, >= 2) those of the tissues.
    """
    cells = [
        np.clip(((axis - origin) // REGION_MM).astype(np.intp), 0, count - 1)
        for axis, origin, count in zip((x, y), REGION_ORIGIN_MM, REGION_COUNT, strict=True)
    ]
    shape = (positions, *REGION_COUNT)
    flat = np.ravel_multi_index((rows, *cells), shape)
    columns = [
        np.bincount(flat, weights, int(np.prod(shape)))
        for tissue in probabilities[:, :COMPARED_TISSUES].T
        for weights in (tissue, tissue * (level + 1))
    ]
    sums = np.stack(columns, axis=-1).astype(np.float64)
    return sums.reshape(*shape, COMPARED_TISSUES, 2)


def intensity_field(
    scan: Regions, target: Regions, weight: float = 1.0, *, keeps_level: bool = True
) -> NDArray[np.float64]:
    """Ratio (P, X, Y) by which the intensities in the regions of a scan have to be multiplied for
    them to be as in the target.

    That is the mean of the scan's own mix of tissues at the target's intensities, over their mean
    in the scan (direct standardization), so that anatomy is not taken for a field.

    Parameters
    ----------
    scan, target
        Regions at the same positions.
    weight
        Weight, 0 to 1, of the ratio's logarithm: the portion of it that is attributed to the
        scanner and the session; the rest is the subject's.
    keeps_level
        Whether the mean of the logarithm over the brain counts, or only how it varies.
    """
    # Beyond a slab, anatomy that one of them lacks is not taken for a field.
    common = (pixels_of(scan).max(axis=(1, 2)) > 0) & (pixels_of(target).max(axis=(1, 2)) > 0)
    seen = common[:, None, None, None, None]
    scan, target = (_smooth(regions * seen) for regions in (scan, target))
    tissue = pixels_of(scan)
    if not tissue.any() or not target.any():
        return np.ones(tissue.shape)
    prior = PRIOR_PIXELS * target[..., 1].sum() / target[..., 0].sum()
    measured = scan[..., 1] / np.maximum(scan[..., 0], TINY_WEIGHT)
    # Where the target does not show a tissue, the scan is as expected.
    typical = (target[..., 1] + TINY_WEIGHT * measured) / (target[..., 0] + TINY_WEIGHT)
    expected = (scan[..., 0] * typical).sum(axis=-1)
    ratio = (expected + prior) / (scan[..., 1].sum(axis=-1) + prior)
    bound = np.log(MAX_FIELD_RATIO)
    log_ratio = np.clip(np.log(ratio), -bound, bound)
    if not keeps_level:
        log_ratio -= float((log_ratio * tissue).sum() / tissue.sum())
    return np.asarray(np.exp(weight * log_ratio))


def pixels_of(regions: Regions) -> NDArray[np.float64]:
    """Pixels of all compared tissues (P, X, Y) in regions."""
    return np.asarray(regions[..., 0].sum(axis=-1))


def regions_at(
    positions: NDArray[np.int64], regions: Regions, wanted: NDArray[np.int64]
) -> Regions:
    """Regions at other positions, without tissue where there are none."""
    found = empty_regions(len(wanted))
    common, rows, wanted_rows = np.intersect1d(positions, wanted, return_indices=True)
    if len(common):
        found[wanted_rows] = regions[rows]
    return found


def field_on_grid(
    field: NDArray[np.float64],
    centres: NDArray[np.float64],
    axes: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float32]:
    """A field (P, X, Y) at axial coordinates ``centres`` (P,), mm, on a grid of template
    coordinates along x, y and z: linear between the centres of regions, constant beyond."""
    in_plane = [
        origin + (np.arange(count, dtype=np.float64) + 0.5) * REGION_MM
        for origin, count in zip(REGION_ORIGIN_MM, REGION_COUNT, strict=True)
    ]
    weights = [
        _linear_weights(coordinates, knots)
        for coordinates, knots in zip(axes, (*in_plane, centres), strict=True)
    ]
    on_grid = np.einsum("pij,xi,yj,zp->xyz", field, *weights, optimize=True)
    return np.asarray(on_grid, dtype=np.float32)


def _linear_weights(
    coordinates: NDArray[np.float64], knots: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Weights (N, K) of values at ascending knots in linear interpolation at coordinates (N,)."""
    return np.stack([np.interp(coordinates, knots, unit) for unit in np.eye(len(knots))], axis=1)


def _smooth(regions: Regions) -> Regions:
    """Regions smoothed over their neighbours; nothing lies beyond the outermost."""
    in_plane = FIELD_SD_MM / REGION_MM
    sigma = (FIELD_SD_MM / POSITION_MM, in_plane, in_plane, 0, 0)
    return np.asarray(ndimage.gaussian_filter(regions, sigma, mode="constant"))
