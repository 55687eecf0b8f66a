"""How far the edges between tissues lie from where they were, in mm, below the voxel's size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.lab.benchmarks.metrics.lesions import neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMOOTHING = 0.7
"""Standard deviation (mm) of the Gaussian under the gradient, on both images alike."""

REACH, STEP = 2.5, 0.25
"""Profiles across an edge: this far to both sides, in these steps, mm."""

SPAN, BASE = 4, 2
"""Steps that a slope is taken over, and between the three slopes of a parabola: with fewer, the
grid's phase alone moves an edge by a tenth of a voxel."""

NEAR = 0.75
"""How far (mm) an edge is looked for from its voxel, and then from where it was."""

STRONGEST = 90.0
"""Percentile of the gradient inside the mask above which a voxel counts as an edge."""

FLATTEST = 25.0
"""Percentile of the gradient inside the mask below which a voxel counts as far from edges: there
the curve is found, or it would undo what moves all edges of one kind the same way."""

MOST = 20000
"""Edge voxels to look at; of more, every n-th."""

LEVELS = 257
"""Quantiles of the curve that takes the change of intensities out."""


@frozen
class EdgeShift:
    """Displacement of edges along the gradient, mm.

    ``median`` and ``p95`` are of its absolute value; ``mean`` is signed, positive where the dark
    side grew.  ``lost`` is the share of edges that are nowhere near any more.
    """

    median: float
    p95: float
    mean: float
    lost: float


def edge_shift(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    mask: NDArray[np.bool_],
    *,
    in_plane: bool = False,
) -> EdgeShift:
    """How far edges moved from ``before`` to ``after``, both (X, Y, Z) on a 1 mm grid.

    At the voxels of strongest gradient of ``before``, profiles of both images along its gradient
    are searched for their steepest point, refined by a parabola (after Devernay 1995, INRIA
    RR-2724).  A curve of intensities moves the steepest point of a blurred edge, which is no
    change of anatomy: ``before`` is first given the quantiles that ``after`` has far from edges,
    so that an image and any rising function of it have no shift.

    ``in_plane`` looks for edges within the slices of the third axis only, which then need not be
    neighbours.

    Raises
    ------
    ValueError
        The shapes differ, or no edge is left 2 mm inside the mask.
    """
    if not before.shape == after.shape == mask.shape:
        raise ValueError(f"shapes differ: {before.shape}, {after.shape}, {mask.shape}")
    if not mask.any():
        raise ValueError("the mask is empty")
    axes = 2 if in_plane else 3
    sigma = (SMOOTHING,) * axes + (0.0,) * (3 - axes)
    ours, theirs = before.astype(np.float64), after.astype(np.float64)
    size = _gradient(ndimage.gaussian_filter(ours, sigma), axes)[1]
    flat = mask & (size <= np.percentile(size[mask], FLATTEST))
    curved = _same_quantiles(ours, theirs, flat)
    old, new = (ndimage.gaussian_filter(data, sigma) for data in (curved, theirs))
    places, normals = _edges(old, mask, axes)
    steps = np.linspace(-REACH, REACH, round(2 * REACH / STEP) + 1)
    first, second = (_slopes(data, places, normals, steps) for data in (old, new))
    was = _steepest(first, np.zeros(len(places)))
    known = np.isfinite(was)
    moved = _steepest(second[known], was[known]) - was[known]
    found = moved[np.isfinite(moved)]
    if not found.size:
        raise ValueError("no edge is found in both images")
    distance = np.abs(found)
    return EdgeShift(
        median=float(np.median(distance)),
        p95=float(np.percentile(distance, 95)),
        mean=float(found.mean()),
        lost=1 - len(found) / len(moved),
    )


def _same_quantiles(
    data: NDArray[np.float64], like: NDArray[np.float64], mask: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """``data`` on the rising curve that gives it the quantiles of ``like``; straight beyond."""
    share = np.linspace(0, 100, LEVELS)
    x, first = np.unique(np.percentile(data[mask], share), return_index=True)
    y = np.percentile(like[mask], share)[first]
    if len(x) < 2:
        raise ValueError("the image is constant far from edges")
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    beyond = np.minimum(data - x[0], 0) + np.maximum(data - x[-1], 0)
    return np.interp(data, x, y) + slope * beyond


def _gradient(
    data: NDArray[np.float64], axes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradient (axes, X, Y, Z) along the first axes, and its size."""
    gradient = np.stack(np.gradient(data, axis=tuple(range(axes))))
    return gradient, np.sqrt(np.square(gradient).sum(axis=0))


def _edges(
    data: NDArray[np.float64], mask: NDArray[np.bool_], axes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edge voxels (N, 3) and unit vectors (N, 3) along the gradient, from dark to bright."""
    inside = ndimage.binary_erosion(mask, neighbours(in_plane=axes == 2), iterations=2)
    gradient, size = _gradient(data, axes)
    if not inside.any():
        raise ValueError("the mask is too thin to hold an edge")
    strong = inside & (size >= np.percentile(size[inside], STRONGEST)) & (size > 0)
    places = np.argwhere(strong)
    places = places[:: max(1, -(-len(places) // MOST))]
    if not len(places):
        raise ValueError("the image has no edge inside the mask")
    at = tuple(places.T)
    normals = np.zeros((len(places), 3))
    normals[:, :axes] = (gradient[(slice(None), *at)] / size[at]).T
    return places.astype(np.float64), normals


def _slopes(
    data: NDArray[np.float64],
    places: NDArray[np.float64],
    normals: NDArray[np.float64],
    steps: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Rise over SPAN steps (N, len(steps) - SPAN) along lines through the places, by splines."""
    points = places.T[:, :, None] + normals.T[:, :, None] * steps
    profiles = ndimage.map_coordinates(data, points, order=3, mode="nearest")
    return profiles[:, SPAN:] - profiles[:, :-SPAN]


def _steepest(slopes: NDArray[np.float64], near: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where (mm) each row of slopes peaks within NEAR of a place; NaN where it does not."""
    middle = (np.arange(slopes.shape[1]) - (slopes.shape[1] - 1) / 2) * STEP
    allowed = np.abs(middle - near[:, None]) <= NEAR
    allowed[:, :BASE] = allowed[:, -BASE:] = False
    best = np.where(allowed, slopes, -np.inf).argmax(axis=1)
    rows = np.arange(len(slopes))
    left, top, right = (slopes[rows, best + k] for k in (-BASE, 0, BASE))
    curvature = left - 2 * top + right
    peak = (curvature < 0) & (top > 0) & (top >= left) & (top >= right)
    offset = 0.5 * (left - right) / np.where(peak, curvature, 1.0)
    return np.where(peak, middle[best] + offset * BASE * STEP, np.nan)
