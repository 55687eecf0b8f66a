"""A simulated person: partial volumes of the tissues, and the texture that is the person's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen
from nibabel.affines import voxel_sizes

from bids_ihf.geometry.grid import shifted_affine
from bids_ihf.lab.simulation import smooth_fields, subject_warp, template_head
from bids_ihf.lab.simulation.label_mixtures import BRAIN_LABELS, mixture_table
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

BORDER_SIGMA_MM = (
    0.6  # labels have no partial volume; this gives their borders about a voxel of it
)
BELOW_BRAIN_MM = 45.0
AROUND_HEAD_MM = 6.0
BRAIN_MARGIN_VOXELS = 12
"""Width of the head kept around a cropped brain: enough for the network, and faster to scan."""

BOX_MULTIPLE_VOXELS = 8
"""Fourier transforms are quick on sides with small factors."""


@frozen(eq=False)
class Anatomy:
    """What a scanner looks at.

    fractions: (K, X, Y, Z) float32, partial volumes in the order of `tissues.TISSUES`, sum 1.
    texture: (X, Y, Z) float32, zero mean and unit variance, the same in each scan of the person.
    affine: (4, 4) voxel to world in RAS mm, axes along the array's.
    brain: (X, Y, Z) bool, brain tissue with its ventricles and sulci, eroded by nothing.
    """

    fractions: torch.Tensor
    texture: torch.Tensor
    affine: NDArray[np.float64]
    brain: torch.Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        x, y, z = self.texture.shape
        return x, y, z

    @property
    def zooms(self) -> NDArray[np.float64]:
        """Voxel size in mm along each axis."""
        return np.asarray(voxel_sizes(self.affine))

    def fraction(self, *names: str) -> NDArray[np.float32]:
        """Fraction (X, Y, Z) of a voxel that these tissues take together."""
        rows = [TISSUE_INDEX[name] for name in names]
        return np.asarray(self.fractions[rows].sum(dim=0).cpu().numpy())

    def cropped(self, box: tuple[slice, slice, slice]) -> Anatomy:
        """A copy of the voxels in a box of slices with a start each."""
        affine = shifted_affine(self.affine, [axis.start for axis in box])
        return Anatomy(
            fractions=self.fractions[(slice(None), *box)].clone(),
            texture=self.texture[box].clone(),
            affine=affine,
            brain=self.brain[box].clone(),
        )

    def to(self, device: str | torch.device) -> Anatomy:
        """Copy to another device."""
        return evolve(
            self,
            fractions=self.fractions.to(device),
            texture=self.texture.to(device),
            brain=self.brain.to(device),
        )


def from_labels(path: Path, *, seed: int) -> Anatomy:
    """Read a whole-head label map (FreeSurfer values, and extracerebral ones) at about 1 mm.

    The axes become the nearest to RAS, the field of view ends around the head and 45 mm below
    the brain.  `seed` draws the texture and the fat between the muscles, so it is the person.
    """
    import nibabel as nib
    import torch

    image = nib.as_closest_canonical(nib.load(path))
    labels = largest_head(np.asanyarray(image.dataobj).astype(np.int16))
    zooms = np.asarray(image.header.get_zooms()[:3], dtype=np.float64)
    box = _head_box(labels, zooms)
    labels = np.ascontiguousarray(labels[box])
    affine = shifted_affine(image.affine, [axis.start for axis in box])
    shape = labels.shape
    texture = smooth_fields.random_texture((shape[0], shape[1], shape[2]), zooms, seed)
    fractions = torch.from_numpy(_partial_volumes(labels, zooms, seed))
    brain = torch.from_numpy(np.isin(labels, BRAIN_LABELS))
    return Anatomy(fractions, _standard(texture, brain), affine, brain)


def crop_to_brain(anatomy: Anatomy) -> Anatomy:
    """The brain and what lies within `BRAIN_MARGIN_VOXELS` of it."""
    corners = np.argwhere(anatomy.brain.numpy())
    low = np.maximum(corners.min(axis=0) - BRAIN_MARGIN_VOXELS, 0)
    high = np.minimum(corners.max(axis=0) + BRAIN_MARGIN_VOXELS + 1, anatomy.brain.shape)
    x, y, z = (slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    return anatomy.cropped((x, y, z))


def _standard(texture: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit variance in the brain."""
    inside = texture[brain]
    return (texture - inside.mean()) / inside.std()


def largest_head(labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """Clear the specks that label maps have beside the head; searched at half resolution."""
    from scipy.ndimage import binary_dilation, label

    parts, _ = label(labels[::2, ::2, ::2] > 0)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    keep = binary_dilation(parts == sizes.argmax())
    for axis in range(3):
        keep = np.repeat(keep, 2, axis=axis)
    x, y, z = labels.shape
    return np.where(keep[:x, :y, :z], labels, np.int16(0))


def _head_box(labels: NDArray[np.int16], zooms: NDArray[np.float64]) -> tuple[slice, ...]:
    """Slices around the head and some neck, each a multiple of 8 voxels where there is room."""
    head = labels > 0
    brain = np.isin(labels, BRAIN_LABELS)
    box = []
    for axis in range(3):
        others = tuple(k for k in range(3) if k != axis)
        # Rows with a few voxels are the stray specks that label maps have beside the head.
        filled = np.flatnonzero(head.sum(axis=others) > 200)
        low = filled[0] - round(AROUND_HEAD_MM / zooms[axis])
        high = filled[-1] + 1 + round(AROUND_HEAD_MM / zooms[axis])
        if axis == 2:
            lowest = np.flatnonzero(brain.any(axis=others))[0]
            low = max(low, lowest - round(BELOW_BRAIN_MM / zooms[axis]))
        low, high = max(low, 0), min(high, labels.shape[axis])
        size = min(
            -(-(high - low) // BOX_MULTIPLE_VOXELS) * BOX_MULTIPLE_VOXELS, labels.shape[axis]
        )
        low = max(high - size, 0)
        box.append(slice(int(low), int(low + size)))
    return tuple(box)


def _partial_volumes(
    labels: NDArray[np.int16], zooms: NDArray[np.float64], seed: int
) -> NDArray[np.float32]:
    """Turn labels into smoothed tissue fractions that sum to one."""
    from scipy.ndimage import gaussian_filter

    table, index = mixture_table(labels, zooms, seed)
    fractions = np.empty((len(SIMULATED_TISSUES), *labels.shape), dtype=np.float32)
    for tissue in range(len(SIMULATED_TISSUES)):
        if not table[:, tissue].any():
            fractions[tissue] = 0
            continue
        sharp = table[:, tissue][index]
        gaussian_filter(sharp, BORDER_SIGMA_MM / zooms, output=fractions[tissue], truncate=2.5)
    fractions[TISSUE_INDEX["air"]] += 1 - fractions.sum(axis=0)
    return np.clip(fractions, 0, 1, out=fractions)


def demo_anatomy(
    seed: int,
    *,
    pose: NDArray[np.float64] | None = None,
    shape: tuple[int, int, int] = template_head.HEAD_SHAPE,
    affine: NDArray[np.float64] | None = None,
) -> Anatomy:
    """Make a person of the template's tissue maps; two seeds are two people.

    pose: rigid (4, 4), the person's world to the scanner's, both RAS mm; identity when None.
    shape, affine: the grid to make; the template head's at 1 mm when not given.  The person is
    sampled on it once, so a pose or another grid costs no second interpolation.
    """
    import torch

    grid = template_head.head_affine() if affine is None else affine
    back = np.linalg.inv(np.eye(4) if pose is None else pose)
    person = subject_warp.random_subject_warp(seed)

    def to_template(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return person(points @ back[:3, :3].T + back[:3, 3])

    with torch.no_grad():
        points = subject_warp.warp_lattice(shape, grid, to_template)
        maps = torch.from_numpy(template_head.template_head())
        fractions = subject_warp.sample_lattice(maps, template_head.head_affine(), points, shape)
        own = smooth_fields.random_texture(template_head.HEAD_SHAPE, np.ones(3), seed)
        texture = subject_warp.sample_lattice(
            own[None], template_head.head_affine(), points, shape
        )[0]
        brain = fractions[0] > 0.5  # the mask travels in the place of air
        fractions[0] = (1 - fractions[1:].sum(dim=0)).clamp_(min=0)
    return Anatomy(fractions, _standard(texture, brain), grid.copy(), brain)
