"""Find the brain in a whole head: lay the template's over it, then follow the scan's own edges."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_ihf.spatial import morphology
from bids_ihf.spatial.search import AFFINE, Pair, best_starts, refine, sample, to_matrix
from bids_ihf.spatial.template import load_template
from bids_ihf.volume.grid import Grid, canonical_grid, inverse, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

COARSE = 4.0
"""Voxel size (mm) of the search."""

CROWN_TO_MIDDLE = 75.0
"""From the top of the scalp down to the middle of the brain, mm."""

BRAIN_HEIGHT = 110.0
"""Depth (mm) below the crown in which the head's middle is taken: brain, no neck."""

SHELL = 8.0
"""Reach (mm) of the search's points beyond the template's brain: skull is part of the pattern."""

STARTS = {
    "down": (-30.0, -15.0, 0.0, 15.0),  # mm
    "forward": (-15.0, 0.0, 15.0),  # mm
    "pitch": (-20.0, 0.0, 20.0),  # degrees
    "size": (-8.0, 4.0),  # percent
}

TISSUE = 0.5
"""Darkest brain, relative to the mean of the brain around."""

REACH = 10.0
"""Farthest (mm) that the brain may go beyond the template's."""

NECK = 3.0
"""Radius (mm) of bridges to scalp, eyes and vessels that are cut."""

SULCUS = 8.0
"""Radius (mm) of folds that the mask passes over."""

RIM = 1.5
"""Fluid (mm) kept round the brain."""

SMALLEST = 1e5
"""Volume (cubic mm) under which what was laid over the head is no brain to follow."""


def extract_brain(
    data: NDArray[np.float32], grid: Grid, head: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Smooth brain mask (0 to 1, edge at 0.5) of a head on an isotropic RAS grid.

    All zeros where the template's brain finds no place in the head.
    """
    if not head.any():
        return np.zeros(grid.shape, dtype=np.float32)
    template = load_template()
    to_head = find_brain(data, grid, head)
    laid = resample(
        template.mask.astype(np.float32),
        template.grid,
        grid,
        target_to_source=inverse(to_head),
    )
    return _follow_edges(data, laid > 0.5, float(grid.zooms[0]))


def find_brain(
    data: NDArray[np.float32], grid: Grid, head: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Affine map (4, 4) from template to head world mm, from many starts below the crown."""
    pair = _pair(data, grid)
    loose = Pair(pair.points[::5], pair.classes[::5], pair.moving, pair.moving_grid, pair.centre)
    middle = _middle(head, grid)
    starts = best_starts(loose, _starts(middle - pair.centre), 3)
    found = min((refine(loose, start, tolerance=1.0) for start in starts), key=loose.cost)
    return to_matrix(refine(pair, found, tolerance=0.5), pair.centre)


def _pair(data: NDArray[np.float32], grid: Grid) -> Pair:
    template = load_template()
    fixed_grid = canonical_grid(template.image.shape, template.grid.affine, zoom=COARSE)
    moving_grid = canonical_grid(grid.shape, grid.affine, zoom=COARSE)
    smooth = ndimage.gaussian_filter(template.image, 1.0)
    fixed = resample(smooth, template.grid, fixed_grid)
    where = morphology.dilate(fixed > 0.05, SHELL, COARSE)
    return sample(fixed, fixed_grid, where, resample(data, grid, moving_grid), moving_grid)


def _middle(head: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """Guess of the brain's middle in the world, mm."""
    zoom = grid.zooms[2]
    index = np.argwhere(head)
    crown = np.percentile(index[:, 2], 99.5)
    upper = index[index[:, 2] > crown - BRAIN_HEIGHT / zoom]
    middle = upper.mean(axis=0)
    middle[2] = crown - CROWN_TO_MIDDLE / zoom
    return np.asarray(grid.affine[:3, :3] @ middle + grid.affine[:3, 3])


def _starts(shift: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    out = []
    for down, forward, pitch, size in product(*STARTS.values()):
        start = np.zeros(AFFINE)
        start[0] = pitch
        start[3:6] = shift + np.array([0, forward, down])
        start[6:9] = size
        out.append(start)
    return out


def _follow_edges(
    data: NDArray[np.float32], laid: NDArray[np.bool_], zoom: float
) -> NDArray[np.float32]:
    """Fit the template's mask to where the scan's own brain ends."""
    if laid.sum() * zoom**3 < SMALLEST:
        return laid.astype(np.float32)
    core = morphology.erode(laid, 6.0, zoom)
    relative = data / np.maximum(_mean_around(data, morphology.erode(laid, 2.0, zoom), zoom), 1e-6)
    # Fat and vessels outshine the brain.
    bright = 1.15 * np.percentile(relative[core], 99.5)
    near = morphology.dilate(laid, REACH, zoom)
    tissue = (near & (relative > TISSUE) & (relative < bright)) | core
    inner = morphology.connected(morphology.erode(tissue, NECK, zoom) | core, core)
    grown = morphology.dilate(inner, NECK + 0.5, zoom) & tissue
    mask = morphology.close(morphology.largest(grown | core), SULCUS, zoom)
    return _soft(ndimage.binary_fill_holes(mask), zoom)


def _soft(mask: NDArray[np.bool_], zoom: float) -> NDArray[np.float32]:
    """A ramp across the smoothed edge, 0.5 at RIM mm outside it."""
    outside = ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask)
    distance = ndimage.gaussian_filter(outside * zoom, 1.5 / zoom)
    return np.clip(0.5 + (RIM - distance) / (4 * zoom), 0, 1).astype(np.float32)


def _mean_around(
    data: NDArray[np.float32], inside: NDArray[np.bool_], zoom: float, reach: float = 15.0
) -> NDArray[np.float32]:
    """Mean of ``data`` inside a mask, weighted by nearness (Gaussian of ``reach`` mm)."""
    weight = inside.astype(np.float32)
    total = ndimage.gaussian_filter(data * weight, reach / zoom)
    out: NDArray[np.float32] = total / np.maximum(
        ndimage.gaussian_filter(weight, reach / zoom), 1e-3
    )
    return out
