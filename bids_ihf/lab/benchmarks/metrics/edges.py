"""Displacement of tissue edges between two images, in mm, with sub-voxel precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.lab.benchmarks.metrics.lesions import IN_PLANE_CROSS

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRADIENT_SMOOTHING_SD_MM = 0.7
"""Standard deviation of the in-plane Gaussian applied to both images before the gradient."""

PROFILE_REACH_MM, PROFILE_STEP_MM = 2.5, 0.25
"""Extent to both sides and sampling of the intensity profiles across an edge."""

SLOPE_SPAN_STEPS, PARABOLA_SPACING_STEPS = 4, 2
"""Profile steps over which a slope is taken, and between the three slopes of a parabola: with
fewer, the phase of the grid alone moves an edge by a tenth of a voxel."""

MAX_EDGE_SHIFT_MM = 0.75
"""Distance within which an edge is searched for, from its voxel and from where it was before."""

EDGE_GRADIENT_PERCENTILE = 90.0
"""Voxels of a larger gradient than this percentile (%) inside the mask are edges."""

FLAT_GRADIENT_PERCENTILE = 25.0
"""Voxels of a smaller gradient than this percentile (%) inside the mask are far from edges: the
intensity mapping is estimated there, or it would undo a shift that all edges of a kind share."""

MAX_EDGE_VOXELS = 20000
"""Edge voxels that are measured; of more, every n-th."""

QUANTILE_COUNT = 257
"""Quantiles that define the intensity mapping."""


@frozen
class EdgeShift:
    """Displacement of edges along the gradient.

    Attributes
    ----------
    median, p95
        Of the absolute displacement, mm.
    mean
        Of the signed displacement, mm; positive where the darker tissue grew.
    lost
        Fraction of the edges that are not found within MAX_EDGE_SHIFT_MM.
    """

    median: float
    p95: float
    mean: float
    lost: float


def edge_shift(
    before: NDArray[np.floating], after: NDArray[np.floating], mask: NDArray[np.bool_]
) -> EdgeShift:
    """How far edges moved from ``before`` to ``after``, within the slices of the third axis.

    At the voxels of strongest gradient of ``before``, profiles of both images along that gradient
    are searched for their steepest point, refined by a parabola (after Devernay 1995, INRIA
    RR-2724).  An intensity mapping moves the steepest point of a blurred edge without any change
    of anatomy: ``before`` is therefore first mapped to the quantiles that ``after`` has far from
    edges, so that the shift between an image and any increasing function of it is zero.

    Parameters
    ----------
    before, after, mask
        (X, Y, S) on a 1 mm grid; consecutive slices need not be neighbours.

    Raises
    ------
    ValueError
        The shapes differ, or there is no edge 2 mm inside the mask.
    """
    if not before.shape == after.shape == mask.shape:
        raise ValueError(f"shapes differ: {before.shape}, {after.shape}, {mask.shape}")
    if not mask.any():
        raise ValueError("the mask is empty")
    sd = (GRADIENT_SMOOTHING_SD_MM, GRADIENT_SMOOTHING_SD_MM, 0.0)
    first, second = before.astype(np.float64), after.astype(np.float64)
    size = _gradient(ndimage.gaussian_filter(first, sd))[1]
    flat = mask & (size <= np.percentile(size[mask], FLAT_GRADIENT_PERCENTILE))
    mapped = _match_quantiles(first, second, flat)
    old, new = (ndimage.gaussian_filter(image, sd) for image in (mapped, second))
    points, normals = _edges(old, mask)
    steps = np.linspace(
        -PROFILE_REACH_MM, PROFILE_REACH_MM, round(2 * PROFILE_REACH_MM / PROFILE_STEP_MM) + 1
    )
    old_slopes, new_slopes = (_slopes(image, points, normals, steps) for image in (old, new))
    old_offset = _steepest(old_slopes, np.zeros(len(points)))
    valid = np.isfinite(old_offset)
    shift = _steepest(new_slopes[valid], old_offset[valid]) - old_offset[valid]
    finite = shift[np.isfinite(shift)]
    if not finite.size:
        raise ValueError("no edge is found in both images")
    distance = np.abs(finite)
    return EdgeShift(
        median=float(np.median(distance)),
        p95=float(np.percentile(distance, 95)),
        mean=float(finite.mean()),
        lost=1 - len(finite) / len(shift),
    )


def _match_quantiles(
    image: NDArray[np.float64], reference: NDArray[np.float64], mask: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """``image`` mapped monotonically to the quantiles of ``reference``; linear beyond them."""
    percentiles = np.linspace(0, 100, QUANTILE_COUNT)
    x, first = np.unique(np.percentile(image[mask], percentiles), return_index=True)
    y = np.percentile(reference[mask], percentiles)[first]
    if len(x) < 2:
        raise ValueError("the image is constant far from edges")
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    beyond = np.minimum(image - x[0], 0) + np.maximum(image - x[-1], 0)
    return np.interp(image, x, y) + slope * beyond


def _gradient(image: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """In-plane gradient (2, X, Y, S) and its magnitude."""
    gradient = np.stack(np.gradient(image, axis=(0, 1)))
    return gradient, np.sqrt(np.square(gradient).sum(axis=0))


def _edges(
    image: NDArray[np.float64], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edge voxels (N, 3) and unit vectors (N, 3) along the gradient, from dark to bright."""
    inside = ndimage.binary_erosion(mask, IN_PLANE_CROSS, iterations=2)
    gradient, size = _gradient(image)
    if not inside.any():
        raise ValueError("the mask is too thin to hold an edge")
    strong = inside & (size >= np.percentile(size[inside], EDGE_GRADIENT_PERCENTILE)) & (size > 0)
    voxels = np.argwhere(strong)
    voxels = voxels[:: max(1, -(-len(voxels) // MAX_EDGE_VOXELS))]
    if not len(voxels):
        raise ValueError("the image has no edge inside the mask")
    index = tuple(voxels.T)
    normals = np.zeros((len(voxels), 3))
    normals[:, :2] = (gradient[(slice(None), *index)] / size[index]).T
    return voxels.astype(np.float64), normals


def _slopes(
    image: NDArray[np.float64],
    points: NDArray[np.float64],
    normals: NDArray[np.float64],
    steps: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Rise over SLOPE_SPAN_STEPS along lines (N, len(steps) - span) through points, by splines."""
    lines = points.T[:, :, None] + normals.T[:, :, None] * steps
    profiles = ndimage.map_coordinates(image, lines, order=3, mode="nearest")
    return profiles[:, SLOPE_SPAN_STEPS:] - profiles[:, :-SLOPE_SPAN_STEPS]


def _steepest(slopes: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Offset (mm) at which each row of slopes peaks near its start; NaN where it does not."""
    spacing = PARABOLA_SPACING_STEPS
    offsets = (np.arange(slopes.shape[1]) - (slopes.shape[1] - 1) / 2) * PROFILE_STEP_MM
    allowed = np.abs(offsets - start[:, None]) <= MAX_EDGE_SHIFT_MM
    allowed[:, :spacing] = allowed[:, -spacing:] = False
    best = np.where(allowed, slopes, -np.inf).argmax(axis=1)
    rows = np.arange(len(slopes))
    low, top, high = (slopes[rows, best + k] for k in (-spacing, 0, spacing))
    curvature = low - 2 * top + high
    peak = (curvature < 0) & (top > 0) & (top >= low) & (top >= high)
    vertex = 0.5 * (low - high) / np.where(peak, curvature, 1.0)
    return np.where(peak, offsets[best] + vertex * spacing * PROFILE_STEP_MM, np.nan)
