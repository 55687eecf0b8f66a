"""A prepared scan on the network's grid, and its statistics by slice position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.geometry.grid import Grid, inverse_affine, resample
from bids_ihf.geometry.slices import slice_stack
from bids_ihf.network.encoder import Encoder
from bids_ihf.targets.intensity import IntensityScale, histogram, robust_scale
from bids_ihf.targets.landmarks import SliceStatistics, slice_statistics
from bids_ihf.targets.map_profiles import DIFFUSION_MAPS
from bids_ihf.targets.profile import Profile, position_centre, slice_position

if TYPE_CHECKING:
    from bids_ihf.preprocessing.prepare import Prepared

Array = NDArray[np.float32]

NETWORK_VOXEL_MM = 1.0
"""Voxel size of the network's grid, mm."""

BRAIN_MARGIN_VOXELS = 7
"""Margin of the network's grid around the brain, so that the network has its surroundings."""

MIN_BRAIN_PIXELS = 100
"""Brain pixels that a slice needs for statistics."""

NETWORK_RANGE = (-1.0, 1.5)
"""Intensities that the network was trained on; scalp and vessels may be brighter than the
brain."""


@frozen(eq=False)
class NetworkInput:
    """A scan on the network's grid, 1 mm RAS in template space.

    ``data`` (X, Y, Z) are bias-corrected intensities in scan units, ``mask`` (X, Y, Z) is the
    brain mask, 0 to 1.  ``tissues`` (3, X, Y, Z) are fractions of grey matter, white matter and
    CSF in a FLAIR scan; None for other contrasts, whose tissues the encoder tells.
    ``modality`` is told to the encoder; empty where it is unknown.
    """

    data: Array
    mask: Array
    grid: Grid
    scale: IntensityScale
    tissues: Array | None = None
    modality: str = ""

    @property
    def z(self) -> NDArray[np.float64]:
        """Axial template coordinate (Z,) of every slice, mm."""
        affine = self.grid.affine
        return affine[2, 3] + affine[2, 2] * np.arange(self.grid.shape[2])

    @property
    def brain(self) -> NDArray[np.bool_]:
        """Voxels (X, Y, Z) with more than half of their volume in the brain."""
        return self.mask > 0.5

    @property
    def brain_slices(self) -> NDArray[np.intp]:
        """Indices of the axial slices that contain brain."""
        return np.flatnonzero(self.brain.any(axis=(0, 1)))


def brain_grid(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> Grid:
    """The 1 mm RAS grid that encloses a mask with BRAIN_MARGIN_VOXELS to spare.

    ``affine`` (4, 4) maps the mask's voxels to the space of the grid.  Grid points lie on whole
    millimetres, unless the mask's voxels are 1 mm and axis-aligned already: then on those, so that
    nothing is interpolated.
    """
    voxel, margin = NETWORK_VOXEL_MM, BRAIN_MARGIN_VOXELS
    voxels = np.argwhere(mask)
    box = np.stack([voxels.min(axis=0), voxels.max(axis=0)])
    corners = np.array(np.meshgrid(*box.T)).reshape(3, -1)
    world = affine[:3, :3] @ corners + affine[:3, 3:]
    aligned = np.allclose(np.sort(np.abs(affine[:3, :3]), axis=1)[:, :2], 0, atol=1e-4)
    aligned = aligned and np.allclose(np.abs(affine[:3, :3]).max(axis=1), voxel, atol=1e-4)
    phase = affine[:3, 3] % voxel if aligned else np.zeros(3)
    low = np.floor((world.min(axis=1) - phase) / voxel) * voxel + phase - margin
    high = np.ceil((world.max(axis=1) - phase) / voxel) * voxel + phase + margin
    out = np.diag([voxel, voxel, voxel, 1.0])
    out[:3, 3] = low
    return Grid(np.rint((high - low) / voxel).astype(int) + 1, out)


def to_network_input(prepared: Prepared, modality: str | None = None) -> NetworkInput:
    """Bias-corrected scan and brain mask on the network's grid, by a single interpolation.

    The tissues of a scan of the modality FLAIR come with it.

    Raises
    ------
    ValueError
        The mask is empty, or the brain has one intensity.
    """
    # Reads the template's files; statistics of what is on the grid already do without.
    from bids_ihf.targets.tissue_priors import tissue_priors

    native = prepared.grid
    grid = brain_grid(prepared.mask, prepared.to_template @ native.affine)
    to_native = inverse_affine(prepared.to_template)
    data, mask = (
        resample(array, native, grid, target_to_source=to_native, order=1)
        for array in (prepared.corrected, prepared.mask.astype(np.float32))
    )
    mask = np.clip(mask, 0, 1)
    scale = robust_scale(data, mask > 0.5)
    tissues = tissue_priors(prepared, grid) if modality == "FLAIR" else None
    return NetworkInput(data, mask, grid, scale, tissues, modality or "")


def histograms_by_position(
    data: Array, network_input: NetworkInput
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Slice positions (P,) that contain brain, and the histogram (P, HISTOGRAM_BINS) of ``data``
    (network units) at each."""
    position = slice_position(network_input.z)
    brain = network_input.brain
    area = brain.sum(axis=(0, 1))
    covered = np.unique(position[area > 0])
    rows = [histogram(data[:, :, position == p][brain[:, :, position == p]]) for p in covered]
    return covered, np.stack(rows)


def slices_by_position(network_input: NetworkInput) -> dict[int, int]:
    """Index of the slice nearest to the centre of each position, where it shows enough brain."""
    area = network_input.brain.sum(axis=(0, 1))
    usable = np.flatnonzero(area >= min(MIN_BRAIN_PIXELS, area.max()))
    z, position = network_input.z, slice_position(network_input.z[usable])
    return {
        int(p): int(min(usable[position == p], key=lambda i: abs(z[i] - position_centre(p))))
        for p in np.unique(position)
    }


def position_statistics(
    data: Array, network_input: NetworkInput, encoder: Encoder, *, threads: int = 1
) -> SliceStatistics:
    """Encoder statistics of the slices of ``data`` (network units) at every position."""
    slices = list(slices_by_position(network_input).values())
    mask = np.ascontiguousarray(np.moveaxis(network_input.mask[:, :, slices], 2, 0))
    tissues = network_input.tissues
    if tissues is not None:
        tissues = np.ascontiguousarray(np.moveaxis(tissues[..., slices], 3, 0))
    told = encoder.for_modality(network_input.modality)
    corner = (float(network_input.grid.affine[0, 3]), float(network_input.grid.affine[1, 3]))
    stack = slice_stack(data, slices)
    return slice_statistics(told, stack, mask, tissues, corner, threads)


def measure_profile(network_input: NetworkInput, encoder: Encoder, *, threads: int = 1) -> Profile:
    """The profile of one scan; that of a map of a diffusion series has no tissues, which the
    encoder does not know in it."""
    data = clip_to_network_range(network_input.scale.normalize(network_input.data))
    positions, histograms = histograms_by_position(data, network_input)
    statistics = position_statistics(data, network_input, encoder, threads=threads)
    encoded = np.isin(positions, list(slices_by_position(network_input)))
    has_tissues = network_input.modality not in DIFFUSION_MAPS
    tissues = statistics.tissue_histograms
    return Profile(
        positions=positions[encoded],
        histograms=histograms[encoded],
        embeddings=statistics.embeddings,
        landmarks=statistics.landmarks if has_tissues else np.full(3, np.nan),
        tissue_histograms=tissues if has_tissues else np.zeros_like(tissues),
        scale=network_input.scale,
        regions=statistics.regions,
    )


def clip_to_network_range(data: Array) -> Array:
    """Network units clipped to NETWORK_RANGE."""
    return np.clip(data, *NETWORK_RANGE)
