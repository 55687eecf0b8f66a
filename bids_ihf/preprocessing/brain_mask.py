"""Brain and head masks of whole heads and of skull-stripped scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage
from skimage.filters import threshold_otsu

from bids_ihf.geometry.grid import Grid, canonical_grid, resample
from bids_ihf.io.affines import voxel_sizes
from bids_ihf.preprocessing import morphology
from bids_ihf.preprocessing.segmentation import antialias, segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.segmentation import Segmentation

EMPTY_FRACTION = 1e-3
"""Fraction of the 99.9th percentile up to which a voxel is empty: spline ringing, rounding."""

EMPTY_DISTANCE_MM = 10.0
"""Distance from the brain, mm, beyond which a skull-stripped scan is empty."""

MAX_OUTSIDE_FRACTION = 0.02
"""Signal beyond that distance, as a fraction of the brain, that a stripped scan may have."""

HEAD_VOXEL_MM = 2.0
"""Voxel size of the grid on which heads are segmented, mm."""

SOLID_THRESHOLD_FRACTION, THIN_THRESHOLD_FRACTION = 0.5, 0.3
"""Fractions of Otsu's threshold for the solid head and for thin parts, as a scalp that is dark in
some T2w scans.  Otsu's threshold separates fat and brain from the rest; air is far below."""

MAX_SPECK_FRACTION = 0.02
"""Size, as a fraction of the largest component, up to which a component is noise in the air."""

HEAD_CLOSING_MM = 12.0
"""Radius, mm, of the closing that bridges skull and cavities."""


@frozen(eq=False)
class Brain:
    """The brain of a scan: its mask (X, Y, Z), its tissues, and whether all else is stripped."""

    mask: NDArray[np.bool_]
    segmentation: Segmentation
    stripped: bool


def find_brain(data: NDArray[np.float32], affine: NDArray[np.float64]) -> Brain:
    """Find the brain in a scan (X, Y, Z) of any contrast.

    The mask of a skull-stripped scan is its signal, with holes filled, since whoever stripped it
    chose it.  The mask is empty where no brain is found.
    """
    segmentation = segment(data, affine)
    mask = segmentation.brain_on(Grid(data.shape, affine))
    stripped = is_stripped(data, affine, mask)
    if stripped:
        signal = morphology.largest_component(has_signal(data))
        mask = np.asarray(ndimage.binary_fill_holes(signal))
    return Brain(mask, segmentation, stripped)


def has_signal(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels that are not empty."""
    bright = np.percentile(np.abs(data[::2, ::2]), 99.9)
    return np.asarray(np.abs(data) > EMPTY_FRACTION * bright)


def is_stripped(
    data: NDArray[np.float32], affine: NDArray[np.float64], mask: NDArray[np.bool_]
) -> bool:
    """Whether a scan (X, Y, Z) shows only the brain of a mask and its surroundings."""
    steps = tuple(slice(None, None, 2 if size > 60 else 1) for size in data.shape)
    zooms = voxel_sizes(affine) * [step.step or 1 for step in steps]
    signal, brain = has_signal(data)[steps], mask[steps]
    if not brain.any():
        return False
    distant = ndimage.distance_transform_edt(~brain, sampling=zooms) > EMPTY_DISTANCE_MM
    return bool((signal & distant).sum() < MAX_OUTSIDE_FRACTION * brain.sum())


def head_mask(data: NDArray[np.float32], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
    """All that is not air (X, Y, Z): brain, skull and scalp, with cavities filled."""
    native = Grid(data.shape, affine)
    grid = canonical_grid(data.shape, affine, zoom=HEAD_VOXEL_MM)
    coarse = resample(antialias(data, native, HEAD_VOXEL_MM), native, grid)
    positive = coarse[coarse > 0]
    if positive.size == 0:
        return np.zeros(data.shape, dtype=bool)
    clipped = np.clip(coarse, 0, np.percentile(positive, 98))
    threshold = float(threshold_otsu(clipped.ravel()))
    solid = ndimage.binary_opening(clipped > SOLID_THRESHOLD_FRACTION * threshold, iterations=2)
    # Dark skull may separate scalp and brain: closing comes before the choice of one component.
    solid = morphology.remove_small_components(solid, MAX_SPECK_FRACTION)
    solid = morphology.close(solid, HEAD_CLOSING_MM, HEAD_VOXEL_MM)
    solid = morphology.largest_component(ndimage.binary_fill_holes(solid))
    thin = ndimage.binary_opening(clipped > THIN_THRESHOLD_FRACTION * threshold)
    head = morphology.close(solid | thin, HEAD_CLOSING_MM, HEAD_VOXEL_MM)
    head = ndimage.binary_fill_holes(morphology.largest_component(head))
    return resample(head.astype(np.float32), grid, native) > 0.5
