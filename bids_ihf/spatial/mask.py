"""Brain and head masks of T1w and T2w scans, whole heads and stripped ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_ihf.spatial import morphology
from bids_ihf.spatial.extract import extract_brain
from bids_ihf.volume.grid import Grid, canonical_grid, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY = 1e-3
"""Share of the 99.9th percentile up to which a voxel counts as empty: spline ringing, rounding."""

MOSTLY_EMPTY = 0.3
"""A stripped scan is empty in at least this share of its voxels."""

DARK, FEW_DARK = 0.1, 0.09
"""Darker than DARK of the brightest tissue are skull and air; a stripped scan holds FEW_DARK at
most."""

FAINT = 0.3
"""Share of Otsu's threshold above which a voxel is head and not air."""

SPECK = 0.02
"""Share of the largest component up to which another is noise in the air."""

ZOOM = 2.0
"""Voxel size (mm) of the grid that masks are found on."""


def signal(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels that are not empty."""
    out: NDArray[np.bool_] = np.abs(data) > EMPTY * np.percentile(np.abs(data[::2, ::2]), 99.9)
    return out


def is_stripped(data: NDArray[np.float32]) -> bool:
    """Whether a scan (X, Y, Z) shows a brain alone: empty around it and hardly dark within.

    Heads with an emptied background are told apart by their skull, sinuses and air cells.
    """
    steps = tuple(slice(None, None, 2 if size > 60 else 1) for size in data.shape)
    thinned = data[steps]
    filled = signal(thinned)
    if filled.mean() > 1 - MOSTLY_EMPTY or not filled.any():
        return False
    # Filled first: an emptied skull may part the scalp from the brain.
    filled = morphology.largest(ndimage.binary_fill_holes(filled))
    bright = np.percentile(thinned[filled], 90)
    inner = ndimage.binary_erosion(filled, iterations=2)
    return bool(inner.any() and np.mean(thinned[inner] < DARK * bright) < FEW_DARK)


def brain_mask(data: NDArray[np.float32], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Brain mask (X, Y, Z) of a T1w or T2w scan on its own grid.

    A stripped scan gives its signal, filled; any other is searched for the template's brain, and
    the mask laid over it is fitted to the scan's own edges.  Empty where no brain is found.
    """
    if is_stripped(data):
        filled: NDArray[np.bool_] = ndimage.binary_fill_holes(morphology.largest(signal(data)))
        return filled
    native, grid, coarse = _coarse(data, affine)
    found = extract_brain(coarse, grid, _head(coarse))
    return resample(found, grid, native) > 0.5


def head_mask(data: NDArray[np.float32], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """All that is not air (X, Y, Z): brain, skull and scalp, cavities filled."""
    if is_stripped(data):
        filled: NDArray[np.bool_] = ndimage.binary_fill_holes(signal(data))
        return filled
    native, grid, coarse = _coarse(data, affine)
    lit = coarse[coarse > 0]
    bright = np.clip(coarse, 0, np.percentile(lit, 98)) if lit.size else coarse
    # Lower than what finds the brain, and with thin parts kept: scalp is dark in some T2w scans.
    mask = ndimage.binary_opening(bright > FAINT * otsu(bright)) | _head(coarse)
    mask = morphology.largest(morphology.close(mask, 12.0, ZOOM))
    solid = ndimage.binary_fill_holes(mask).astype(np.float32)
    return resample(solid, grid, native) > 0.5


def _coarse(
    data: NDArray[np.float32], affine: NDArray[np.float64]
) -> tuple[Grid, Grid, NDArray[np.float32]]:
    """Native grid, a RAS grid of ZOOM mm over it, and the smoothed scan on that."""
    native = Grid((data.shape[0], data.shape[1], data.shape[2]), affine)
    grid = canonical_grid(data.shape, affine, zoom=ZOOM)
    return native, grid, resample(antialias(data, native, ZOOM), native, grid)


def antialias(data: NDArray[np.float32], grid: Grid, zoom: float) -> NDArray[np.float32]:
    """Smooth as much as sampling at ``zoom`` mm needs; coarser axes are left alone."""
    sigma = 0.5 * np.maximum(zoom / grid.zooms - 1, 0)
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(data, sigma)
    return smooth


def _head(coarse: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Head mask on the ZOOM grid: brighter than air, closed over skull and cavities."""
    lit = coarse[coarse > 0]
    if lit.size == 0:
        return np.zeros(coarse.shape, dtype=bool)
    bright = np.clip(coarse, 0, np.percentile(lit, 98))
    # Half of Otsu's threshold: it parts fat and brain from the rest, air lies far below.
    mask = ndimage.binary_opening(bright > otsu(bright) / 2, iterations=2)
    # Dark skull may part scalp and brain, so closing comes before the choice of one component.
    mask = morphology.close(morphology.without_specks(mask, SPECK), 12.0, ZOOM)
    return morphology.largest(ndimage.binary_fill_holes(mask))


def otsu(values: NDArray[np.float32]) -> float:
    """Threshold of greatest variance between two classes (Otsu 1979)."""
    counts, edges = np.histogram(values, 256)
    middles = (edges[1:] + edges[:-1]) / 2
    below, weighted = np.cumsum(counts)[:-1], np.cumsum(counts * middles)[:-1]
    mean = (counts * middles).sum() / counts.sum()
    above = counts.sum() - below
    between = (mean * below - weighted) ** 2 / np.maximum(below * above, 1)
    return float(middles[between.argmax()])
