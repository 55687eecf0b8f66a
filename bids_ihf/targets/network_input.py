"""A prepared scan on the network's grid and its statistics by slice position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.geometry.grid import Grid, inverse_affine, resample
from bids_ihf.geometry.slices import slice_stack
from bids_ihf.targets.intensity import IntensityScale, histogram, robust_scale
from bids_ihf.targets.landmarks import SliceStatistics, slice_statistics
from bids_ihf.targets.profile import Profile, position_centre, slice_position

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.network.encoder import Encoder
    from bids_ihf.preprocessing.prepare import Prepared

NETWORK_VOXEL_MM = 1.0
"""Voxel size of the network's grid, mm."""

BRAIN_MARGIN_VOXELS = 7
"""Voxels kept round the brain, so that the network sees what lies next to it."""

MIN_BRAIN_PIXELS = 100
"""Brain pixels a slice needs to give statistics."""


@frozen(eq=False)
class NetworkInput:
    """Bias-corrected intensities in own units and brain mask (0 to 1) on a 1 mm RAS grid."""

    data: NDArray[np.float32]
    mask: NDArray[np.float32]
    grid: Grid
    scale: IntensityScale

    @property
    def z(self) -> NDArray[np.float64]:
        """Axial template coordinate (mm) of every slice."""
        affine = self.grid.affine
        return affine[2, 3] + affine[2, 2] * np.arange(self.grid.shape[2])

    @property
    def brain(self) -> NDArray[np.bool_]:
        """Voxels more inside the brain than outside."""
        return self.mask > 0.5


def brain_grid(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> Grid:
    """The 1 mm RAS grid that holds a mask with MARGIN to spare.

    ``affine`` leads from the mask's voxels to the space of the grid.  Grid points lie on whole
    millimetres, except where the mask's own voxels already are 1 mm and axis-aligned: then on
    those, so that nothing is interpolated.
    """
    corners = np.argwhere(mask)
    box = np.stack([corners.min(axis=0), corners.max(axis=0)])
    ends = np.array(np.meshgrid(*box.T)).reshape(3, -1)
    world = affine[:3, :3] @ ends + affine[:3, 3:]
    aligned = np.allclose(np.sort(np.abs(affine[:3, :3]), axis=1)[:, :2], 0, atol=1e-4)
    aligned = aligned and np.allclose(
        np.abs(affine[:3, :3]).max(axis=1), NETWORK_VOXEL_MM, atol=1e-4
    )
    phase = affine[:3, 3] % NETWORK_VOXEL_MM if aligned else np.zeros(3)
    low = (
        np.floor((world.min(axis=1) - phase) / NETWORK_VOXEL_MM) * NETWORK_VOXEL_MM
        + phase
        - BRAIN_MARGIN_VOXELS
    )
    high = (
        np.ceil((world.max(axis=1) - phase) / NETWORK_VOXEL_MM) * NETWORK_VOXEL_MM
        + phase
        + BRAIN_MARGIN_VOXELS
    )
    out = np.diag([NETWORK_VOXEL_MM, NETWORK_VOXEL_MM, NETWORK_VOXEL_MM, 1.0])
    out[:3, 3] = low
    return Grid(np.rint((high - low) / NETWORK_VOXEL_MM).astype(int) + 1, out)


def to_network_input(prepared: Prepared) -> NetworkInput:
    """Bias-corrected scan and mask in the brain's box of template space, by one interpolation."""
    native = prepared.grid
    grid = brain_grid(prepared.mask, prepared.to_template @ native.affine)
    back = inverse_affine(prepared.to_template)
    data = resample(prepared.corrected, native, grid, target_to_source=back, order=1)
    soft = prepared.mask.astype(np.float32)
    mask = resample(soft, native, grid, target_to_source=back, order=1)
    mask = np.clip(mask, 0, 1)
    return NetworkInput(data=data, mask=mask, grid=grid, scale=robust_scale(data, mask > 0.5))


def histograms_by_position(
    data: NDArray[np.float32], on_grid: NetworkInput
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Slice positions the brain covers, and the histogram of ``data`` (network units) at each."""
    position = slice_position(on_grid.z)
    brain = on_grid.brain
    area = brain.sum(axis=(0, 1))
    covered = np.unique(position[area > 0])
    rows = [histogram(data[:, :, position == p][brain[:, :, position == p]]) for p in covered]
    return covered, np.stack(rows)


def slices_by_position(on_grid: NetworkInput) -> dict[int, int]:
    """Position to the index of its slice nearest the middle, where that shows enough brain."""
    area = on_grid.brain.sum(axis=(0, 1))
    usable = np.flatnonzero(area >= min(MIN_BRAIN_PIXELS, area.max()))
    index = slice_position(on_grid.z[usable])
    return {
        int(p): int(min(usable[index == p], key=lambda i: abs(on_grid.z[i] - position_centre(p))))
        for p in np.unique(index)
    }


def position_statistics(
    data: NDArray[np.float32], on_grid: NetworkInput, encoder: Encoder
) -> SliceStatistics:
    """What the encoder says of the slices at every position of ``data`` (network units)."""
    chosen = list(slices_by_position(on_grid).values())
    mask = np.ascontiguousarray(np.moveaxis(on_grid.mask[:, :, chosen], 2, 0))
    return slice_statistics(encoder, slice_stack(data, chosen), mask)


def measure_profile(on_grid: NetworkInput, encoder: Encoder) -> Profile:
    """The profile of one scan."""
    data = clip_to_network_range(on_grid.scale.normalize(on_grid.data))
    positions, histograms = histograms_by_position(data, on_grid)
    found = position_statistics(data, on_grid, encoder)
    kept = np.isin(positions, list(slices_by_position(on_grid)))
    return Profile(
        positions[kept], histograms[kept],
        found.embeddings, found.landmarks, found.tissue_histograms, on_grid.scale,
    )  # fmt: skip


def clip_to_network_range(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip to what the network was trained on: scalp and vessels may outshine the brain."""
    return np.clip(data, -1.0, 1.5)
