"""Structures of a label map made smaller or larger by a known fraction, as disease does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.label_anatomy import LabelMap

REGION_MARGIN_MM = 3.0
"""Width of the surroundings of a structure that belong to its region."""

MAX_BORDER_SHIFT_MM = 4.0
"""Distance from the border up to which voxels change their label."""


@frozen
class Structure:
    """A structure that grows or shrinks.

    Attributes
    ----------
    labels
        FreeSurfer labels of the structure, both sides.
    surroundings
        Labels that it gives its volume to, or takes it from.
    tissue
        What it consists of, by the name in the tables.
    """

    labels: tuple[int, ...]
    surroundings: tuple[int, ...]
    tissue: str


STRUCTURES = {
    "cortex": Structure((3, 42), (24,), "grey matter"),
    "hippocampus": Structure((17, 53), (4, 5, 24, 43, 44), "grey matter"),
    "lateral ventricles": Structure((4, 43), (2, 41), "CSF"),
}
"""Structures whose change must survive: cortex and hippocampus border on CSF, the ventricles on
white matter."""


def change_volume(
    label_map: LabelMap, structure: Structure, percent: float, *, seed: int
) -> LabelMap:
    """A label map with the volume of a structure changed by a percentage, to the voxel.

    The border moves by less than a voxel, so a random part of the voxels along it change their
    label; partial volume and the scanner's blur make that a thinner or thicker structure.

    Raises
    ------
    ValueError
        The structure has no border with its surroundings, or too short a one.
    """
    inside = np.isin(label_map.labels, structure.labels)
    outside = np.isin(label_map.labels, structure.surroundings)
    count = round(abs(percent) / 100 * int(inside.sum()))
    if count == 0:
        return label_map
    giving, taking = (inside, outside) if percent < 0 else (outside, inside)
    box = _around(inside, label_map.zooms)
    depth, nearest = ndimage.distance_transform_edt(
        ~taking[box], sampling=label_map.zooms, return_indices=True
    )
    near = np.flatnonzero(giving[box] & (depth <= MAX_BORDER_SHIFT_MM))
    if len(near) < count:
        raise ValueError(f"{len(near)} voxels at the border, but {count} have to change")
    tie_break = np.random.default_rng(seed).random(len(near))
    chosen = near[np.lexsort((tie_break, np.rint(depth.ravel()[near])))[:count]]
    labels = label_map.labels.copy()
    part = labels[box]
    part.flat[chosen] = part[tuple(axis.ravel()[chosen] for axis in nearest)]
    return evolve(label_map, labels=labels)


def region_of(label_map: LabelMap, structure: Structure) -> NDArray[np.bool_]:
    """Voxels (X, Y, Z) of a structure and of its surroundings within REGION_MARGIN_MM."""
    inside = np.isin(label_map.labels, structure.labels)
    region, box = np.zeros_like(inside), _around(inside, label_map.zooms)
    depth = ndimage.distance_transform_edt(~inside[box], sampling=label_map.zooms)
    region[box] = depth <= REGION_MARGIN_MM
    return region


def _around(mask: NDArray[np.bool_], zooms: NDArray[np.float64]) -> tuple[slice, ...]:
    """The box of a mask with MAX_BORDER_SHIFT_MM to spare.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    if not mask.any():
        raise ValueError("the label map does not show the structure")
    margin = np.ceil(MAX_BORDER_SHIFT_MM / zooms).astype(int) + 1
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(axis.start - m, 0), axis.stop + m) for axis, m in zip(box, margin, strict=True)
    )
