"""Brain and tissues of a head of any contrast, by the shipped network."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.geometry.grid import Grid, bounding_box_on, canonical_grid, resample
from bids_ihf.preprocessing import morphology
from bids_ihf.preprocessing.intensity import unit_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.network.unet import Segmenter

    Box = tuple[slice, slice, slice]

SEGMENTATION_VOXEL_MM = 2.0
"""Voxel size (mm) of the network's grid."""

BRAIN_BOX_MARGIN_MM = 16.0
"""What is shown around the brain (mm) at the second look."""

MIN_BRAIN_VOLUME_MM3 = 2e4
"""Volume (cubic mm) under which what was found is no brain: a slice of 2 mm has more."""

MAX_FRACTION_DISTANCE_MM = 4.0
"""Farthest (mm) from the brain proper that a share of it is kept."""


@frozen(eq=False)
class Segmentation:
    """Shares (4, X, Y, Z), 0 to 1, of outside, grey matter, white matter and fluid; RAS, 2 mm.

    ``seen`` (X, Y, Z) tells the voxels inside the scan from the corners that a tilted one leaves.
    Lesions are white matter, deep grey matter is grey, and what lies in the brain's folds is
    fluid.
    """

    tissue_fractions: NDArray[np.float32]
    field_of_view: NDArray[np.bool_]
    grid: Grid

    @property
    def brain(self) -> NDArray[np.float32]:
        """Share (X, Y, Z) of the brain with its fluid."""
        return np.asarray(1 - self.tissue_fractions[0])

    def brain_on(self, grid: Grid) -> NDArray[np.bool_]:
        """Brain mask on another grid of the same world."""
        out = np.zeros(grid.shape, dtype=bool)
        box = bounding_box_on(self.brain > 0, self.grid, grid)
        if box is not None:
            out[box] = resample(self.brain, self.grid, grid.crop(box)) > 0.5
        return out


def segment(data: NDArray[np.float32], affine: NDArray[np.float64]) -> Segmentation:
    """Find the brain and its tissues in a scan (X, Y, Z) of any contrast, whole or stripped.

    The network looks twice: at everything, and then at the brain and what is near it, where the
    range of intensities is the brain's own.  All is outside where no brain is seen.
    """
    native = Grid(data.shape, affine)
    grid = canonical_grid(data.shape, affine, zoom=SEGMENTATION_VOXEL_MM)
    coarse = resample(antialias(data, native, SEGMENTATION_VOXEL_MM), native, grid)
    shares = np.zeros((4, *grid.shape), dtype=np.float32)
    shares[0] = 1
    whole = ndimage.find_objects((coarse > 0).astype(np.uint8))
    if whole:
        first = _predict_fractions(coarse[whole[0]])
        box = _brain_box(first[0] < 0.5, whole[0], grid.shape)
        if box is not None:
            found = _one_brain(_predict_fractions(coarse[box]))
            if (found[0] < 0.5).sum() * SEGMENTATION_VOXEL_MM**3 > MIN_BRAIN_VOLUME_MM3:
                shares[(slice(None), *box)] = found
    return Segmentation(shares, _inside(native, grid), grid)


def antialias(data: NDArray[np.float32], grid: Grid, zoom: float) -> NDArray[np.float32]:
    """Smooth as much as sampling at ``zoom`` mm needs; coarser axes are left alone."""
    sigma = 0.5 * np.maximum(zoom / grid.zooms - 1, 0)
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(data, sigma)
    return smooth


def _inside(native: Grid, grid: Grid) -> NDArray[np.bool_]:
    """Voxels of ``grid`` whose centres lie in the box of the native voxels."""
    to_native = np.linalg.inv(native.affine) @ grid.affine
    x, y, z = (np.arange(n) for n in grid.shape)
    inside = np.ones(grid.shape, dtype=bool)
    for row, size in zip(to_native[:3], native.shape, strict=True):
        place = row[0] * x[:, None, None] + row[1] * y[:, None] + row[2] * z + row[3]
        inside &= (place >= -0.5) & (place <= size - 0.5)
    return inside


@lru_cache(maxsize=1)
def _network() -> Segmenter:
    from bids_ihf.network.checkpoint import load_segmenter

    return load_segmenter()


def _predict_fractions(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's answer (4, X, Y, Z) for an image of 2 mm."""
    import torch

    network = _network()
    # The coarsest level needs more than one voxel to be normalized.
    pad = [(0, max(2 * network.multiple - n, -n % network.multiple)) for n in image.shape]
    shown = torch.from_numpy(np.pad(unit_range(image), pad))[None, None]
    with torch.inference_mode():
        shown = shown.contiguous(memory_format=torch.channels_last_3d)
        shares = network(shown)[0].softmax(dim=0)
    x, y, z = image.shape
    return shares[:, :x, :y, :z].contiguous().numpy()


def _brain_box(brain: NDArray[np.bool_], within: Box, shape: tuple[int, int, int]) -> Box | None:
    """The box of the largest piece of a brain found in ``within``, with MARGIN around."""
    found = ndimage.find_objects(morphology.largest(brain).astype(np.uint8))
    if not found:
        return None
    reach = round(BRAIN_BOX_MARGIN_MM / SEGMENTATION_VOXEL_MM)
    sides = [
        slice(max(0, w.start + f.start - reach), min(n, w.start + f.stop + reach))
        for w, f, n in zip(within, found[0], shape, strict=True)
    ]
    return sides[0], sides[1], sides[2]


def _one_brain(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without what is apart from the largest piece of brain, and with its holes filled."""
    solid = morphology.largest(shares[0] < 0.5)
    holes = ndimage.binary_fill_holes(solid) & ~solid
    shares[:, ~morphology.dilate(solid, MAX_FRACTION_DISTANCE_MM, SEGMENTATION_VOXEL_MM)] = (
        np.array([[1], [0], [0], [0]])
    )
    inside = shares[1:, holes]
    shares[1:, holes] = inside / np.maximum(inside.sum(axis=0), 1e-6)
    shares[0, holes] = 0
    return shares
