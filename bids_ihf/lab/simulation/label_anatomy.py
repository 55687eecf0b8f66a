"""Anatomies from whole-head label maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen
from scipy import ndimage

from bids_ihf.geometry.grid import shifted_affine
from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.anatomy import Anatomy, standardized_texture
from bids_ihf.lab.simulation.label_mixtures import BRAIN_LABELS, double_resolution, mixture_table
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BORDER_SIGMA_MM = 0.6
"""Gaussian that turns the sharp borders of labels into about one voxel of partial volume, mm."""

BELOW_BRAIN_MM, AROUND_HEAD_MM = 45.0, 6.0
"""Neck that is kept below the brain, and air around the head, mm."""

MIN_HEAD_VOXELS_PER_PLANE = 200
"""Planes with fewer voxels of the head show only the stray specks of label maps."""

BOX_MULTIPLE_VOXELS = 8
"""Sides of the box are multiples of this, because Fourier transforms are fast at such sizes."""


@frozen(eq=False)
class LabelMap:
    """Labels (X, Y, Z) of a head, axes nearest to RAS, with affine (4, 4) and voxel sizes (mm)."""

    labels: NDArray[np.int16]
    affine: NDArray[np.float64]
    zooms: NDArray[np.float64]


def read_label_map(path: Path) -> LabelMap:
    """Read a label map; specks beside the head, found at half resolution, become background."""
    import nibabel as nib  # only here: packed label maps are read without it

    image = nib.as_closest_canonical(nib.load(path))
    labels = np.asanyarray(image.dataobj).astype(np.int16)
    components, _ = ndimage.label(labels[::2, ::2, ::2] > 0)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    head = double_resolution(ndimage.binary_dilation(components == sizes.argmax()), labels.shape)
    return LabelMap(
        np.where(head, labels, np.int16(0)),
        image.affine,
        np.asarray(image.header.get_zooms()[:3], dtype=np.float64),
    )


def from_labels(path: Path, *, seed: int, contrast_agent: bool = False) -> Anatomy:
    """Read a whole-head label map of about 1 mm: FreeSurfer labels, and extracerebral ones.

    The axes become the nearest to RAS; the field of view ends around the head and 45 mm below
    the brain.  ``seed`` draws the texture and the fat between the muscles, so it is the subject.
    With ``contrast_agent`` vessels and dura enhance as in a scan after gadolinium.
    """
    return anatomy_of(read_label_map(path), seed=seed, contrast_agent=contrast_agent)


def anatomy_of(label_map: LabelMap, *, seed: int, contrast_agent: bool = False) -> Anatomy:
    """An anatomy from a label map that was read; see :func:`from_labels`."""
    zooms = label_map.zooms
    box = head_box(label_map.labels, zooms)
    labels = np.ascontiguousarray(label_map.labels[box])
    x, y, z = labels.shape
    texture = smooth_fields.random_texture((x, y, z), zooms, seed)
    fractions = torch.from_numpy(_partial_volumes(labels, zooms, seed, contrast_agent))
    brain = torch.from_numpy(np.isin(labels, BRAIN_LABELS))
    affine = shifted_affine(label_map.affine, [axis.start for axis in box])
    return Anatomy(fractions, standardized_texture(texture, brain), affine, brain)


def head_box(labels: NDArray[np.int16], zooms: NDArray[np.float64]) -> tuple[slice, ...]:
    """The head and some neck; sides are multiples of 8 voxels where the volume is large enough."""
    head = labels > 0
    brain = np.isin(labels, BRAIN_LABELS)
    box = []
    for axis in range(3):
        plane = tuple(k for k in range(3) if k != axis)
        filled = np.flatnonzero(head.sum(axis=plane) > MIN_HEAD_VOXELS_PER_PLANE)
        margin = round(AROUND_HEAD_MM / zooms[axis])
        low, high = filled[0] - margin, filled[-1] + 1 + margin
        if axis == 2:
            lowest = np.flatnonzero(brain.any(axis=plane))[0]
            low = max(low, lowest - round(BELOW_BRAIN_MM / zooms[axis]))
        low, high = max(low, 0), min(high, labels.shape[axis])
        size = -(-(high - low) // BOX_MULTIPLE_VOXELS) * BOX_MULTIPLE_VOXELS
        size = min(size, labels.shape[axis])
        low = max(high - size, 0)
        box.append(slice(int(low), int(low + size)))
    return tuple(box)


def _partial_volumes(
    labels: NDArray[np.int16], zooms: NDArray[np.float64], seed: int, contrast_agent: bool
) -> NDArray[np.float32]:
    """Smoothed tissue fractions (K, X, Y, Z) that sum to one."""
    table, index = mixture_table(labels, zooms, seed, contrast_agent=contrast_agent)
    fractions = np.empty((len(SIMULATED_TISSUES), *labels.shape), dtype=np.float32)
    for tissue in range(len(SIMULATED_TISSUES)):
        if not table[:, tissue].any():
            fractions[tissue] = 0
            continue
        sharp = table[:, tissue][index]
        ndimage.gaussian_filter(
            sharp, BORDER_SIGMA_MM / zooms, output=fractions[tissue], truncate=2.5
        )
    fractions[TISSUE_INDEX["air"]] += 1 - fractions.sum(axis=0)
    return np.clip(fractions, 0, 1, out=fractions)
