"""Slices of a volume laid out for a person to look at: RAS orientation, true proportions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SLICES = 7
MARGIN = 20.0
"""Millimetres shown around the brain, so that its rim and the scalp can be judged."""
TILE = 170
"""Largest width of a tile in pixels."""
TALLEST = 200


@frozen
class View:
    """A plane: the axis it cuts, and the axes drawn to the right and upwards (RAS order)."""

    name: str
    axis: int
    right: int
    up: int
    low_mark: str
    high_mark: str
    """Letters at the left and the right edge."""


VIEWS = (
    View("axial", 2, 0, 1, "L", "R"),
    View("coronal", 1, 0, 2, "L", "R"),
    View("sagittal", 0, 1, 2, "P", "A"),
)


@frozen(eq=False)
class Layout:
    """Which slices of a volume are shown, and how large.

    Attributes
    ----------
    turn
        Orientation of the native axes, as nibabel has it.
    affine
        Of the volume turned to RAS order.
    zooms
        Voxel sizes (mm) in RAS order.
    box
        First and last + 1 voxel shown along each axis.
    indices
        Slices along each axis.
    pixel
        Size of a pixel (mm).
    """

    turn: NDArray[np.float64]
    affine: NDArray[np.float64]
    zooms: tuple[float, float, float]
    box: tuple[tuple[int, int], ...]
    indices: tuple[tuple[int, ...], ...]
    pixel: float

    def to_ras(self, data: NDArray[Any]) -> NDArray[Any]:
        """Turn a volume on the native grid to the RAS order that is nearest; no interpolation."""
        return np.asarray(nibabel.apply_orientation(data, self.turn))

    def tile_size(self, view: View) -> tuple[int, int]:
        """Return (height, width) of a tile in pixels."""
        across, up = (
            max(1, round((self.box[axis][1] - self.box[axis][0]) * self.zooms[axis] / self.pixel))
            for axis in (view.right, view.up)
        )
        return up, across

    def position(self, view: View, index: int) -> float:
        """Place of a slice (mm) along the world axis nearest to the one it cuts."""
        centre = [(low + high - 1) / 2 for low, high in self.box]
        centre[view.axis] = index
        return float(self.affine[view.axis, :3] @ centre + self.affine[view.axis, 3])


def plan_layout(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> Layout:
    """Choose what to show so that the brain fills the figure; an empty mask shows everything."""
    turn = nibabel.io_orientation(affine)
    ras = np.asarray(nibabel.apply_orientation(mask, turn), dtype=bool)
    turned = affine @ nibabel.orientations.inv_ornt_aff(turn, mask.shape)
    x, y, z = (float(size) for size in nibabel.affines.voxel_sizes(turned))
    extents = [_extent(ras, axis) for axis in range(3)]
    box = tuple(
        (max(0, low - round(MARGIN / zoom)), min(size, high + round(MARGIN / zoom)))
        for (low, high), zoom, size in zip(extents, (x, y, z), ras.shape, strict=True)
    )
    lengths = [(high - low) * zoom for (low, high), zoom in zip(box, (x, y, z), strict=True)]
    pixel = max(max(lengths[:2]) / TILE, max(lengths[1:]) / TALLEST)
    indices = tuple(_spread(low, high) for low, high in extents)
    return Layout(turn, turned, (x, y, z), box, indices, pixel)


def _extent(mask: NDArray[np.bool_], axis: int) -> tuple[int, int]:
    """First and last + 1 index with brain along an axis."""
    found = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
    return (int(found[0]), int(found[-1]) + 1) if found.size else (0, mask.shape[axis])


def _spread(low: int, high: int) -> tuple[int, ...]:
    """Up to `SLICES` indices, evenly spread, away from the very ends."""
    centres = low + (np.arange(SLICES) + 0.5) * (high - low) / SLICES
    return tuple(sorted({min(int(centre), high - 1) for centre in centres}))


def tile(data: NDArray[np.float32], layout: Layout, view: View, index: int) -> NDArray[np.float32]:
    """Return one slice of a volume in RAS order as (H, W) pixels, its top row uppermost.

    Pixels are square in millimetres whatever the voxels are.
    """
    from PIL import Image

    corner = [slice(low, high) for low, high in layout.box]
    cut: list[slice | int] = list(corner)
    cut[view.axis] = index
    # The two axes left are in rising order, which is (right, up) in all three views.
    plane = np.ascontiguousarray(data[tuple(cut)].T[::-1], dtype=np.float32)
    height, width = layout.tile_size(view)
    resized = Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32)


def tile_row(
    data: NDArray[np.float32], layout: Layout, view: View, cell_width: int
) -> NDArray[np.float32]:
    """Return all slices of one view side by side, each centred in a cell; NaN between them."""
    height, width = layout.tile_size(view)
    row = np.full((height, cell_width * SLICES), np.nan, dtype=np.float32)
    for start, index in zip(
        cell_starts(layout, view, cell_width), layout.indices[view.axis], strict=True
    ):
        row[:, start : start + width] = tile(data, layout, view, index)
    return row


def cell_starts(layout: Layout, view: View, cell_width: int) -> Sequence[int]:
    """Left edge of each tile in a row."""
    width = layout.tile_size(view)[1]
    return [
        cell * cell_width + (cell_width - width) // 2
        for cell in range(len(layout.indices[view.axis]))
    ]


def cell_width(layout: Layout) -> int:
    """Width of the widest tile, with a little space."""
    return max(layout.tile_size(view)[1] for view in VIEWS) + 4
