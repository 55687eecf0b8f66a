"""Brain and head masks of scans, whole heads and stripped ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from nibabel.affines import voxel_sizes
from scipy import ndimage

from bids_ihf.geometry.grid import Grid, canonical_grid, resample
from bids_ihf.preprocessing import morphology
from bids_ihf.preprocessing.segmentation import antialias, segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.segmentation import Segmentation

EMPTY_FRACTION = 1e-3
"""Share of the 99.9th percentile up to which a voxel counts as empty: spline ringing, rounding."""

EMPTY_DISTANCE_MM = 10.0
"""Distance (mm) from the brain beyond which a stripped scan is empty."""

MAX_OUTSIDE_FRACTION = 0.02
"""Share of the brain's volume that a stripped scan may hold besides."""

HEAD_THRESHOLD_FRACTION = 0.3
"""Share of Otsu's threshold above which a voxel is head and not air."""

MAX_SPECK_FRACTION = 0.02
"""Share of the largest component up to which another is noise in the air."""

HEAD_VOXEL_MM = 2.0
"""Voxel size (mm) of the grid that heads are found on."""


@frozen(eq=False)
class Brain:
    """Where the brain of a scan is: mask (X, Y, Z), its tissues, and whether the scan shows
    nothing else."""

    mask: NDArray[np.bool_]
    segmentation: Segmentation
    stripped: bool


def find_brain(data: NDArray[np.float32], affine: NDArray[np.float64]) -> Brain:
    """Find the brain in a scan (X, Y, Z) of any contrast.

    A stripped scan's mask is its signal, filled, since it was somebody's choice.  The mask is
    empty where no brain is found.
    """
    native = Grid(data.shape, affine)
    segmentation = segment(data, affine)
    mask = segmentation.brain_on(native)
    stripped = is_stripped(data, affine, mask)
    if stripped:
        mask = np.asarray(ndimage.binary_fill_holes(morphology.largest(signal(data))))
    return Brain(mask, segmentation, stripped)


def signal(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels that are not empty."""
    out: NDArray[np.bool_] = np.abs(data) > EMPTY_FRACTION * np.percentile(
        np.abs(data[::2, ::2]), 99.9
    )
    return out


def is_stripped(
    data: NDArray[np.float32], affine: NDArray[np.float64], mask: NDArray[np.bool_]
) -> bool:
    """Whether a scan (X, Y, Z) shows nothing but the brain of a mask, and what is near it."""
    steps = tuple(slice(None, None, 2 if size > 60 else 1) for size in data.shape)
    zooms = voxel_sizes(affine) * [side.step or 1 for side in steps]
    filled, brain = signal(data)[steps], mask[steps]
    if not brain.any():
        return False
    away = ndimage.distance_transform_edt(~brain, sampling=zooms) > EMPTY_DISTANCE_MM
    return bool((filled & away).sum() < MAX_OUTSIDE_FRACTION * brain.sum())


def head_mask(data: NDArray[np.float32], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """All that is not air (X, Y, Z): brain, skull and scalp, cavities filled."""
    native = Grid(data.shape, affine)
    grid = canonical_grid(data.shape, affine, zoom=HEAD_VOXEL_MM)
    coarse = resample(antialias(data, native, HEAD_VOXEL_MM), native, grid)
    lit = coarse[coarse > 0]
    bright = np.clip(coarse, 0, np.percentile(lit, 98)) if lit.size else coarse
    # Lower than what finds the brain, and with thin parts kept: scalp is dark in some T2w scans.
    mask = ndimage.binary_opening(bright > HEAD_THRESHOLD_FRACTION * otsu(bright)) | _head(coarse)
    mask = morphology.largest(morphology.close(mask, 12.0, HEAD_VOXEL_MM))
    solid = ndimage.binary_fill_holes(mask).astype(np.float32)
    return resample(solid, grid, native) > 0.5


def _head(coarse: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Head mask on the ZOOM grid: brighter than air, closed over skull and cavities."""
    lit = coarse[coarse > 0]
    if lit.size == 0:
        return np.zeros(coarse.shape, dtype=bool)
    bright = np.clip(coarse, 0, np.percentile(lit, 98))
    # Half of Otsu's threshold: it parts fat and brain from the rest, air lies far below.
    mask = ndimage.binary_opening(bright > otsu(bright) / 2, iterations=2)
    # Dark skull may part scalp and brain, so closing comes before the choice of one component.
    mask = morphology.close(
        morphology.without_specks(mask, MAX_SPECK_FRACTION), 12.0, HEAD_VOXEL_MM
    )
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
