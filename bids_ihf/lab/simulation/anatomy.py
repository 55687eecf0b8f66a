"""The anatomy of a virtual subject: tissue fractions, and a texture specific to the subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import evolve, frozen
from torch.nn import functional

from bids_ihf.geometry.grid import shifted_affine
from bids_ihf.io.affines import voxel_sizes
from bids_ihf.lab.simulation.tissues import TISSUE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

BRAIN_MARGIN_VOXELS = 12
"""Width of the head kept around a cropped brain: enough for the network, and faster to scan."""


@frozen(eq=False)
class Anatomy:
    """What a simulated scanner images.

    fractions: (K, X, Y, Z) float32, partial volumes in the order of `tissues.SIMULATED_TISSUES`;
        they sum to 1.
    texture: (X, Y, Z) float32, zero mean and unit variance in the brain, the same in each scan.
    affine: (4, 4) voxel to world in RAS mm.
    brain: (X, Y, Z) bool, brain tissue with ventricles and sulci.
    centre: voxel index (3,) of the centre of the whole brain, about which the scanner's fields are
        arranged; by default that of ``brain``, which may be a slab of it.
    """

    fractions: torch.Tensor
    texture: torch.Tensor
    affine: NDArray[np.float64]
    brain: torch.Tensor
    centre: NDArray[np.float64] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        x, y, z = self.texture.shape
        return x, y, z

    @property
    def zooms(self) -> NDArray[np.float64]:
        """Voxel size (3,) in mm."""
        return voxel_sizes(self.affine)

    def fraction(self, *names: str) -> NDArray[np.float32]:
        """Fraction (X, Y, Z) of each voxel that these tissues make up together."""
        rows = [TISSUE_INDEX[name] for name in names]
        return np.asarray(self.fractions[rows].sum(dim=0).cpu().numpy())

    def brain_centre(self) -> NDArray[np.float64]:
        """Mean voxel index (3,) of the brain; the centre of the grid if there is no brain."""
        if self.centre is not None:
            return self.centre
        total = float(self.brain.sum())
        if total == 0:
            return (np.asarray(self.shape) - 1) / 2
        counts = [self.brain.sum(dim=axes).cpu().numpy() for axes in ((1, 2), (0, 2), (0, 1))]
        return np.asarray([float((np.arange(len(n)) * n).sum()) / total for n in counts])

    def cropped(self, box: tuple[slice, slice, slice]) -> Anatomy:
        """A copy of the voxels in a box of slices with a start each."""
        return Anatomy(
            fractions=self.fractions[(slice(None), *box)].clone(),
            texture=self.texture[box].clone(),
            affine=shifted_affine(self.affine, [axis.start for axis in box]),
            brain=self.brain[box].clone(),
            centre=None if self.centre is None else self.centre - [axis.start for axis in box],
        )

    def averaged(self, factors: tuple[int, int, int]) -> Anatomy:
        """The anatomy on voxels ``factors`` times as large, each the mean of those it covers."""
        if factors == (1, 1, 1):
            return self
        x, y, z = (
            slice(size // factor * factor)
            for size, factor in zip(self.shape, factors, strict=True)
        )

        def mean(volumes: torch.Tensor) -> torch.Tensor:
            return functional.avg_pool3d(volumes[:, x, y, z][None], factors)[0]

        affine = shifted_affine(self.affine, (np.asarray(factors) - 1) / 2)
        affine[:3, :3] *= factors
        return Anatomy(
            fractions=torch.cat([mean(fraction[None]) for fraction in self.fractions]),
            texture=mean(self.texture[None])[0],
            affine=affine,
            brain=mean(self.brain[None].float())[0] >= 0.5,
            centre=None if self.centre is None else (self.centre + 0.5) / factors - 0.5,
        )

    def to(self, device: str | torch.device) -> Anatomy:
        """Copy to another device."""
        return evolve(
            self,
            fractions=self.fractions.to(device),
            texture=self.texture.to(device),
            brain=self.brain.to(device),
        )


def crop_to_brain(anatomy: Anatomy) -> Anatomy:
    """The brain and what lies within `BRAIN_MARGIN_VOXELS` of it."""
    corners = np.argwhere(anatomy.brain.numpy())
    low = np.maximum(corners.min(axis=0) - BRAIN_MARGIN_VOXELS, 0)
    high = np.minimum(corners.max(axis=0) + BRAIN_MARGIN_VOXELS + 1, anatomy.brain.shape)
    x, y, z = (slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    return anatomy.cropped((x, y, z))


def standardized_texture(texture: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """A texture (X, Y, Z) with zero mean and unit variance in the brain."""
    inside = texture[brain]
    return (texture - inside.mean()) / inside.std()
