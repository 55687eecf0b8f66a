"""A slab of a subject in the voxels of a scanner, and back on the network's grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen
from scipy.special import ndtr

from bids_ihf.lab.simulation.anatomy import Anatomy
from bids_ihf.lab.simulation.shell_simulation import DIFFUSION_TISSUES
from bids_ihf.lab.simulation.smooth_fields import FWHM_PER_SIGMA
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.training.template_subjects import TemplateSubject

    Array = NDArray[np.float32]

SURROUNDINGS_VOXELS = 10
"""Voxels of 1 mm around the brain that are simulated; beyond, the signal is that of air."""

MIN_SIGMA_MM = 0.3
"""Smallest standard deviation of a blur: less is nothing beside voxels of 1 mm."""

MIN_BRAIN_FRACTION = 0.5
"""Fraction of brain tissue above which a voxel counts as brain."""


@frozen(eq=False)
class VoxelGrid:
    """Larger voxels over a box of a subject's grid, whose corner is the voxel ``start`` (3,).

    coarser, finer: matrices along each axis, (n, N) and (N, n), that average N voxels of 1 mm to n
        of the scanner's, and interpolate back.
    origin: coordinate (3,) of the centre of the first large voxel in the box, in voxels of 1 mm.
    """

    start: tuple[int, int, int]
    voxel: tuple[float, float, float]
    coarser: tuple[Array, Array, Array]
    finer: tuple[Array, Array, Array]
    origin: tuple[float, float, float]

    def anatomy(self, subject: TemplateSubject) -> Anatomy:
        """The anatomy of the subject in these voxels."""
        x, y, z = (
            slice(first, first + matrix.shape[1])
            for first, matrix in zip(self.start, self.coarser, strict=True)
        )
        shape = tuple(len(matrix) for matrix in self.coarser)
        fractions = np.zeros((len(SIMULATED_TISSUES), *shape), dtype=np.float32)
        for name in DIFFUSION_TISSUES:
            fine = subject.fractions[z, TISSUE_INDEX[name], x, y]
            if fine.any():
                fractions[TISSUE_INDEX[name]] = self._coarse(fine.astype(np.float32)) / 255
        brain = self._coarse(subject.brain[z, x, y].astype(np.float32)) > MIN_BRAIN_FRACTION
        affine = subject.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ (np.asarray(self.start) + self.origin)
        affine[:3, :3] *= self.voxel
        return Anatomy(
            fractions=torch.from_numpy(fractions),
            texture=torch.from_numpy(self._coarse(subject.texture[z, x, y].astype(np.float32))),
            affine=affine,
            brain=torch.from_numpy(brain),
            centre=(subject.centre - self.start - self.origin) / self.voxel,
        )

    def slices(self, image: Array, first: int, stop: int, plane: tuple[int, int]) -> Array:
        """Slices (Z, X, Y) of the subject's grid from ``first`` until ``stop``, of a plane of some
        shape, interpolated linearly from an image (n, n, n) of these voxels; 0 beyond the box."""
        x, y, z = self.finer
        rows = z[first - self.start[2] : stop - self.start[2]]
        stack = np.tensordot(rows, image, axes=(1, 2))
        inner = x @ stack @ y.T
        out = np.zeros((stop - first, *plane), dtype=np.float32)
        i, j = self.start[:2]
        out[:, i : i + inner.shape[1], j : j + inner.shape[2]] = inner
        return out

    def _coarse(self, fine: Array) -> Array:
        """An array (Z, X, Y) of the box averaged to the large voxels (X, Y, Z)."""
        x, y, z = self.coarser
        stack = np.tensordot(z, fine, axes=(1, 0))
        return np.ascontiguousarray(np.moveaxis(x @ stack @ y.T, 0, 2))


def voxel_grid(
    subject: TemplateSubject,
    first: int,
    stop: int,
    voxel: tuple[float, float, float],
    fwhm_mm: tuple[float, float, float],
    shifts: tuple[float, float, float],
) -> VoxelGrid:
    """The voxels of a scanner that cover slices of a subject, from ``first`` until ``stop``.

    ``fwhm_mm`` is the blur on top of the average over the voxel; ``shifts``, 0 to 1, are where the
    voxels begin.
    """
    inside = subject.mask[first:stop] > 127
    bounds = []
    for axis in (1, 2):
        covered = np.flatnonzero(inside.any(axis=(0, 3 - axis)))
        low = max(int(covered[0]) - SURROUNDINGS_VOXELS, 0)
        bounds.append((low, min(int(covered[-1]) + 1 + SURROUNDINGS_VOXELS, inside.shape[axis])))
    # Voxels reach beyond the slices, and what is blurred into them further.
    margin = int(np.ceil(1.5 * voxel[2] + fwhm_mm[2]))
    bounds.append((max(first - margin, 0), min(stop + margin, len(subject.mask))))
    axes = [
        _axis(high - low, size, width / FWHM_PER_SIGMA, shift)
        for (low, high), size, width, shift in zip(bounds, voxel, fwhm_mm, shifts, strict=True)
    ]
    coarser, finer, origin = zip(*axes, strict=True)
    return VoxelGrid((bounds[0][0], bounds[1][0], bounds[2][0]), voxel, coarser, finer, origin)


def _axis(count: int, size: float, sigma: float, shift: float) -> tuple[Array, Array, float]:
    """Matrices of an axis of ``count`` voxels of 1 mm, and the centre of the first large one."""
    # The first centre lies before the first voxel and the last one behind the last.
    origin = -shift * size
    centres = np.arange(origin, count - 1 + size, size)
    distance = centres[:, None] - np.arange(count)
    sigma = max(sigma, MIN_SIGMA_MM)
    kernel = ndtr((distance + size / 2) / sigma) - ndtr((distance - size / 2) / sigma)
    kernel /= size
    position = (np.arange(count) - origin) / size
    weights = np.maximum(1 - np.abs(position[:, None] - np.arange(len(centres))), 0)
    return kernel.astype(np.float32), weights.astype(np.float32), origin
