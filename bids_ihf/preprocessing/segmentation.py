"""Brain and tissues of a head of any contrast, by the shipped segmentation network."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.geometry.grid import Grid, canonical_grid, resample, resample_within
from bids_ihf.preprocessing import morphology

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.network.unet import Segmenter

    Box = tuple[slice, slice, slice]

SEGMENTATION_VOXEL_MM = 2.0
"""Voxel size of the network's grid, mm."""

BRAIN_BOX_MARGIN_MM = 16.0
"""Margin around the brain, mm, that the second pass of the network shows."""

MIN_BRAIN_VOLUME_MM3 = 2e4
"""Volume, mm3, below which a segmentation is not a brain: a slice of 2 mm has more."""

MAX_FRACTION_DISTANCE_MM = 4.0
"""Distance from the solid brain, mm, up to which fractions of brain are kept."""


@frozen(eq=False)
class Segmentation:
    """Tissues of a scan, on a RAS grid of 2 mm.

    Lesions count as white matter, deep grey matter as grey matter, and the contents of the sulci
    as CSF.

    Attributes
    ----------
    tissue_fractions
        Background, grey matter, white matter and CSF, 0 to 1, (4, X, Y, Z).
    field_of_view
        Voxels inside the scanned box, (X, Y, Z); a tilted scan leaves corners.
    grid
        Shape (X, Y, Z) and affine.
    """

    tissue_fractions: NDArray[np.float32]
    field_of_view: NDArray[np.bool_]
    grid: Grid

    @property
    def brain(self) -> NDArray[np.float32]:
        """Fraction of the brain including CSF, (X, Y, Z)."""
        return np.asarray(1 - self.tissue_fractions[0])

    def brain_on(self, grid: Grid) -> NDArray[np.bool_]:
        """Brain mask on another grid in the same world."""
        brain = self.brain
        return resample_within(brain, brain > 0, self.grid, grid) > 0.5


def segment(data: NDArray[np.float32], affine: NDArray[np.float64]) -> Segmentation:
    """Segment the brain and its tissues in a scan (X, Y, Z) of any contrast, whole or stripped.

    The network runs twice: on everything, and then on the brain and its surroundings, where
    intensities are scaled to the brain's range.  All is background where there is no brain.
    """
    native = Grid(data.shape, affine)
    grid = canonical_grid(data.shape, affine, zoom=SEGMENTATION_VOXEL_MM)
    coarse = resample(antialias(data, native, SEGMENTATION_VOXEL_MM), native, grid)
    fractions = np.zeros((4, *grid.shape), dtype=np.float32)
    fractions[0] = 1
    signal_boxes = ndimage.find_objects((coarse > 0).astype(np.uint8))
    if signal_boxes:
        first_pass = _predict_fractions(coarse[signal_boxes[0]])
        box = _brain_box(first_pass[0] < 0.5, signal_boxes[0], grid.shape)
        if box is not None:
            second_pass = _one_brain(_predict_fractions(coarse[box]))
            brain_mm3 = (second_pass[0] < 0.5).sum() * SEGMENTATION_VOXEL_MM**3
            if brain_mm3 > MIN_BRAIN_VOLUME_MM3:
                fractions[(slice(None), *box)] = second_pass
    return Segmentation(fractions, _field_of_view(native, grid), grid)


def antialias(data: NDArray[np.float32], grid: Grid, zoom: float) -> NDArray[np.float32]:
    """Smooth as much as sampling at `zoom` mm needs; coarser axes stay as they are."""
    sigma = 0.5 * np.maximum(zoom / grid.zooms - 1, 0)
    return np.asarray(ndimage.gaussian_filter(data, sigma))


def unit_range(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale so that the 99.5th percentile of positive intensities is 1, and clip to [0, 1]."""
    positive = data[data > 0]
    top = np.percentile(positive, 99.5) if positive.size else 1.0
    return np.clip(data / np.float32(top), 0, 1)


def _predict_fractions(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's tissue fractions (4, X, Y, Z) of an image with voxels of 2 mm."""
    import torch

    network = _load_segmenter_once()
    # The coarsest level needs more than one voxel for its normalization.
    pad = [(0, max(2 * network.multiple - n, -n % network.multiple)) for n in image.shape]
    batch = torch.from_numpy(np.pad(unit_range(image), pad))[None, None]
    with torch.inference_mode():
        batch = batch.contiguous(memory_format=torch.channels_last_3d)
        fractions = network(batch)[0].softmax(dim=0)
    x, y, z = image.shape
    return fractions[:, :x, :y, :z].contiguous().numpy()


@lru_cache(maxsize=1)
def _load_segmenter_once() -> Segmenter:
    """The shipped network, read once by each process."""
    from bids_ihf.network.checkpoint import load_segmenter

    return load_segmenter()


def _field_of_view(native: Grid, grid: Grid) -> NDArray[np.bool_]:
    """Voxels of `grid` whose centres lie in the box of the native voxels."""
    to_native = np.linalg.inv(native.affine) @ grid.affine
    x, y, z = (np.arange(n) for n in grid.shape)
    inside = np.ones(grid.shape, dtype=bool)
    for row, size in zip(to_native[:3], native.shape, strict=True):
        index = row[0] * x[:, None, None] + row[1] * y[:, None] + row[2] * z + row[3]
        inside &= (index >= -0.5) & (index <= size - 0.5)
    return inside


def _brain_box(brain: NDArray[np.bool_], within: Box, shape: tuple[int, int, int]) -> Box | None:
    """The box, with a margin, of the largest component of a brain mask that lies in `within`."""
    boxes = ndimage.find_objects(morphology.largest_component(brain).astype(np.uint8))
    if not boxes:
        return None
    margin = round(BRAIN_BOX_MARGIN_MM / SEGMENTATION_VOXEL_MM)
    x, y, z = (
        slice(max(0, w.start + b.start - margin), min(n, w.start + b.stop + margin))
        for w, b, n in zip(within, boxes[0], shape, strict=True)
    )
    return x, y, z


def _one_brain(fractions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fractions (4, X, Y, Z) of the largest component of the brain, with its holes filled."""
    solid = morphology.largest_component(fractions[0] < 0.5)
    holes = ndimage.binary_fill_holes(solid) & ~solid
    near = morphology.dilate(solid, MAX_FRACTION_DISTANCE_MM, SEGMENTATION_VOXEL_MM)
    out = np.where(near, fractions, np.array([1, 0, 0, 0], np.float32)[:, None, None, None])
    tissues = out[1:, holes]
    out[1:, holes] = tissues / np.maximum(tissues.sum(axis=0), 1e-6)
    out[0, holes] = 0
    return out
