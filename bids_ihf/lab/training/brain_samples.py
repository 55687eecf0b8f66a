"""A sparse sample of a subject's brain, blurred beforehand, from which the statistics of a whole
scan are estimated at the price of a few slices.

Two diagonal neighbours are sampled every 6 mm along each axis, in the middle of every slice
position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen
from scipy import ndimage

from bids_ihf.geometry.grid import shifted_affine
from bids_ihf.lab.simulation.anatomy import Anatomy
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES
from bids_ihf.targets.profile import position_centre, slice_position
from bids_ihf.targets.regional import POSITION_MM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SAMPLE_STRIDE_VOXELS = int(POSITION_MM)
"""Spacing of the samples along each axis, voxels of 1 mm: one slice a slice position."""

DIAGONAL = (0, 1)
"""Offsets, in both axes of the slice, of the two voxels of a sample."""

BLUR_SIGMAS_MM = (0.0, 0.5, 0.8, 1.2, 1.8)
"""Gaussian blurs of a sample, the same along each axis, mm."""

THICKNESS_SIGMAS_MM = (0.0, 1.2, 2.6)
"""Gaussian blurs across the slices that come on top, mm: slices up to 6 mm."""


@frozen(eq=False)
class BrainSample:
    """The sample of one subject: V blurs, W thicknesses, 2 voxels, K tissues, grid (X, Y, Z).

    fractions: (V, W, 2, K, X, Y, Z) uint8, of 255; texture: (V, W, 2, X, Y, Z) float16.
    mask: (2, X, Y, Z) uint8, brain mask of 255.
    affine: (4, 4) of the first voxel of each sample, RAS mm; centre: brain centre (3,) in it.
    """

    fractions: NDArray[np.uint8]
    texture: NDArray[np.float16]
    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]
    centre: NDArray[np.float64]

    def anatomy(self, voxel: int, blur_mm: float, thickness_mm: float) -> Anatomy:
        """The sampled voxels (``voxel`` 0 or 1 of each sample) as an anatomy of large voxels.

        ``blur_mm`` and ``thickness_mm`` are standard deviations; between the blurs of the sample
        fractions are interpolated in the variance.
        """
        weights = [
            (v, w, along * across)
            for v, along in _neighbours(BLUR_SIGMAS_MM, blur_mm)
            for w, across in _neighbours(THICKNESS_SIGMAS_MM, thickness_mm)
            if along * across > 0
        ]
        fractions = sum(
            torch.from_numpy(self.fractions[v, w, voxel]).float() * (weight / 255)
            for v, w, weight in weights
        )
        texture = sum(
            torch.from_numpy(self.texture[v, w, voxel]).float() * weight
            for v, w, weight in weights
        )
        affine = self.affine
        if DIAGONAL[voxel]:
            affine = affine.copy()
            affine[:2, 3] += DIAGONAL[voxel]  # voxels of 1 mm along the axes of the world
        return Anatomy(
            fractions=torch.as_tensor(fractions),
            texture=torch.as_tensor(texture),
            affine=affine,
            brain=torch.from_numpy(self.mask[voxel] > 127),
            centre=self.centre,
        )


def _neighbours(sigmas: tuple[float, ...], sigma: float) -> list[tuple[int, float]]:
    """Indices and weights of the two sampled blurs around a blur, linear in the variance.

    >>> _neighbours((0.0, 1.0, 2.0), 1.0)
    [(0, 0.0), (1, 1.0)]
    """
    variances = np.square(sigmas)
    variance = float(np.clip(sigma**2, variances[0], variances[-1]))
    upper = max(1, int(np.searchsorted(variances, variance)))
    weight = float((variance - variances[upper - 1]) / (variances[upper] - variances[upper - 1]))
    return [(upper - 1, 1 - weight), (upper, weight)]


def sample_brain(
    anatomy: Anatomy, mask: NDArray[np.float32], centre: NDArray[np.float64]
) -> BrainSample:
    """Sample an anatomy of 1 mm voxels with its brain mask (X, Y, Z), 0 to 1."""
    affine = anatomy.affine
    z = affine[2, 3] + np.arange(anatomy.shape[2])
    covered = np.flatnonzero((mask > 0.5).any(axis=(0, 1)))
    nearest = np.abs(z[covered] - position_centre(slice_position(z[covered])))
    first = int(covered[:SAMPLE_STRIDE_VOXELS][np.argmin(nearest[:SAMPLE_STRIDE_VOXELS])])
    slices = np.arange(first, covered[-1] + 1, SAMPLE_STRIDE_VOXELS)
    step = SAMPLE_STRIDE_VOXELS
    sampled = [(slice(d, None, step), slice(d, None, step)) for d in DIAGONAL]
    x, y = (-(-(n - DIAGONAL[1]) // step) for n in anatomy.shape[:2])
    grid = (x, y, len(slices))

    def diagonal(volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """The two voxels of each sample in all slices, (2, X, Y, all Z)."""
        return np.stack([volume[rows, columns][:x, :y] for rows, columns in sampled])

    levels = (len(BLUR_SIGMAS_MM), len(THICKNESS_SIGMAS_MM), len(DIAGONAL))
    fractions = np.zeros((*levels, len(SIMULATED_TISSUES), *grid), dtype=np.uint8)
    texture = np.zeros((*levels, *grid), dtype=np.float16)
    for number, fraction in enumerate(anatomy.fractions.numpy()):
        if fraction.any():
            for v, w, blurred in _blurs(fraction, diagonal, slices):
                fractions[v, w, :, number] = (blurred.clip(0, 1) * 255).round()
    for v, w, blurred in _blurs(anatomy.texture.numpy(), diagonal, slices):
        texture[v, w] = blurred
    sample_affine = shifted_affine(affine, (0, 0, first))
    sample_affine[:3, :3] *= step
    return BrainSample(
        fractions=fractions,
        texture=texture,
        mask=(diagonal(mask)[..., slices] * 255).round().astype(np.uint8),
        affine=sample_affine,
        centre=(centre - [0, 0, first]) / step,
    )


def _blurs(
    volume: NDArray[np.float32],
    diagonal: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    slices: NDArray[np.intp],
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Each blur of a volume (X, Y, Z) at the sampled voxels, with its two indices."""
    blurred, previous = volume, 0.0
    for v, sigma in enumerate(BLUR_SIGMAS_MM):
        if sigma:
            blurred = ndimage.gaussian_filter(blurred, np.sqrt(sigma**2 - previous**2))
            previous = sigma
        columns = diagonal(blurred)
        for w, thickness in enumerate(THICKNESS_SIGMAS_MM):
            across = (
                ndimage.gaussian_filter1d(columns, thickness, axis=3) if thickness else columns
            )
            yield v, w, across[..., slices]
