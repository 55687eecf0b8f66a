"""Slices of a volume for display: right, anterior, superior axes, square pixels, seven a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNT = 7
MARGIN = 18.0
"""How much (mm) of what lies around the brain is shown."""
SPREAD = (0.12, 0.88)
"""First and last slice, as parts of the brain's extent."""
MOST_PIXELS = 240
"""Longest side of a panel."""


@frozen
class Plane:
    """An anatomical plane: its name, the axis across it, and those to the right and up."""

    name: str
    across: int
    right: int
    up: int


PLANES = (Plane("axial", 2, 0, 1), Plane("coronal", 1, 0, 2), Plane("sagittal", 0, 1, 2))


@frozen(eq=False)
class View:
    """What is shown of a volume.

    Attributes
    ----------
    turn
        Orientation (3, 2) that brings the stored axes to right, anterior, superior.
    zooms
        Voxel size (mm) along the turned axes.
    box
        First and one past the last voxel (3, 2) shown, along the turned axes.
    brain
        The same of the brain.
    """

    turn: NDArray[np.float64]
    zooms: NDArray[np.float64]
    box: NDArray[np.intp]
    brain: NDArray[np.intp]

    def size(self, plane: Plane) -> tuple[float, float]:
        """Width and height (mm) of a slice."""
        extent = (self.box[:, 1] - self.box[:, 0]) * self.zooms
        return float(extent[plane.right]), float(extent[plane.up])

    def strip_size(self, plane: Plane) -> tuple[float, float]:
        """Width and height (mm) of seven slices side by side."""
        width, height = self.size(plane)
        return COUNT * width, height


def view_of(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> View:
    """Choose what to show: the brain with a margin; the whole volume where the mask is empty."""
    from nibabel.orientations import io_orientation

    turn = io_orientation(affine)
    turned = _turn(mask, turn)
    zooms = np.empty(3)
    zooms[turn[:, 0].astype(int)] = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    shape = np.array(turned.shape)
    brain = np.stack([np.zeros(3, dtype=np.intp), shape], axis=1)
    if turned.any():
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            inside = np.flatnonzero(turned.any(axis=others))
            brain[axis] = inside[0], inside[-1] + 1
    margin = np.ceil(MARGIN / zooms).astype(np.intp)
    box = np.stack(
        [np.maximum(brain[:, 0] - margin, 0), np.minimum(brain[:, 1] + margin, shape)], axis=1
    )
    return View(turn, zooms, box, brain)


def strip(data: NDArray[np.generic], view: View, plane: Plane) -> NDArray[np.float32]:
    """Seven slices side by side, as rows from top to bottom: (height, 7 * width), square pixels."""
    turned = _turn(data, view.turn)
    first, last = view.brain[plane.across]
    places = first + np.linspace(*SPREAD, COUNT) * (last - first) - 0.5
    indices = np.clip(np.rint(places).astype(int), first, last - 1)
    cut = [slice(*view.box[axis]) for axis in range(3)]
    cut[plane.across] = slice(None)
    # The axis across comes first, then the one upwards, turned to run down, then the one rightwards.
    slices = turned[tuple(cut)].transpose(plane.across, plane.up, plane.right)[indices, ::-1]
    return np.hstack([_square(one.astype(np.float32), view, plane) for one in slices])


def _square(one: NDArray[np.float32], view: View, plane: Plane) -> NDArray[np.float32]:
    """Bring a slice (up, right) to square pixels, no finer than the voxels and within the limit."""
    sizes = np.array(view.size(plane))[::-1]
    pixel = max(float(min(view.zooms[[plane.up, plane.right]])), sizes.max() / MOST_PIXELS)
    shape = np.maximum(np.rint(sizes / pixel), 1).astype(int)
    if tuple(shape) == one.shape:
        return one
    factors = np.array(one.shape) / shape
    # Pixel centres: the middle of the first and last voxel are not at the edge of the slice.
    centres = [(np.arange(n) + 0.5) * f - 0.5 for n, f in zip(shape, factors, strict=True)]
    blurred = ndimage.gaussian_filter(one, np.maximum(factors - 1, 0) / 2)
    return np.asarray(
        ndimage.map_coordinates(
            blurred, np.meshgrid(*centres, indexing="ij"), order=1, mode="nearest"
        ),
        dtype=np.float32,
    )


def _turn(data: NDArray[np.generic], turn: NDArray[np.float64]) -> NDArray[np.generic]:
    from nibabel.orientations import apply_orientation

    turned: NDArray[np.generic] = apply_orientation(data, turn)
    return turned
