"""Slices of a volume as pixels: which are shown, how intensities become grey levels, overlays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nibabel
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Volume = NDArray[np.float32]
Pixels = NDArray[np.uint8]

SLICES_PER_VIEW = 7
BRAIN_MARGIN_MM = 20.0
"""Shown around the brain, so that its surface and the scalp can be judged."""
MAX_TILE_WIDTH_PX, MAX_TILE_HEIGHT_PX = 170, 200
MAX_WINDOW_RATIO = 3.0
"""Ratio of two display windows above which a common one would leave an image black."""
WINDOW_HEADROOM = 1.1
"""White lies at this factor of the brain's range, so that fat and CSF keep some detail."""
MAX_OVERLAY_OPACITY = 0.9
DECREASE_RGB = np.array([64.0, 150.0, 255.0], dtype=np.float32)
INCREASE_RGB = np.array([255.0, 84.0, 56.0], dtype=np.float32)


@frozen
class View:
    """A plane: the axis it cuts, the axes drawn to the right and upwards, its edges' letters."""

    name: str
    axis: int
    right: int
    up: int
    left_label: str
    right_label: str


SLICE_VIEWS = (
    View("axial", 2, 0, 1, "L", "R"),
    View("coronal", 1, 0, 2, "L", "R"),
    View("sagittal", 0, 1, 2, "P", "A"),
)


@frozen(eq=False)
class Layout:
    """Which slices of a volume are shown, and how large.

    `orientation` of the native axes is nibabel's; all else refers to the volume reoriented to
    RAS.  `box` holds the first and last + 1 voxel shown along each axis, `indices` the slices
    shown along each axis; sizes are in mm.
    """

    orientation: NDArray[np.float64]
    affine: NDArray[np.float64]
    voxel_sizes: tuple[float, ...]
    box: tuple[tuple[int, int], ...]
    indices: tuple[tuple[int, ...], ...]
    pixel_size: float

    def to_ras(self, data: NDArray[Any]) -> NDArray[Any]:
        """Reorient a volume on the native grid to the nearest RAS order, without interpolation."""
        return np.asarray(nibabel.apply_orientation(data, self.orientation))

    def tile_size(self, view: View) -> tuple[int, int]:
        """Return (height, width) of a tile in pixels."""
        lengths = [high - low for low, high in self.box]
        height, width = (
            max(1, round(lengths[axis] * self.voxel_sizes[axis] / self.pixel_size))
            for axis in (view.up, view.right)
        )
        return height, width

    @property
    def cell_width(self) -> int:
        """Width of the widest tile and a gap, in pixels."""
        return max(self.tile_size(view)[1] for view in SLICE_VIEWS) + 4

    def tile_starts(self, view: View) -> Sequence[int]:
        """Left edge of each tile of a row, in pixels: tiles are centred in cells."""
        offset = (self.cell_width - self.tile_size(view)[1]) // 2
        return [cell * self.cell_width + offset for cell in range(len(self.indices[view.axis]))]

    def position(self, view: View, index: int) -> float:
        """Position of a slice (mm) along the world axis nearest to the one it cuts."""
        centre = [(low + high - 1) / 2 for low, high in self.box]
        centre[view.axis] = index
        return float(self.affine[view.axis, :3] @ centre + self.affine[view.axis, 3])

    def render_tile(self, data: Volume, view: View, index: int) -> Volume:
        """Return a slice of a volume in RAS order as (H, W) square pixels, the top row first."""
        selection: list[slice | int] = [slice(low, high) for low, high in self.box]
        selection[view.axis] = index
        # The two remaining axes are in rising order, which is (right, up) in all three views.
        plane = np.ascontiguousarray(data[tuple(selection)].T[::-1], dtype=np.float32)
        height, width = self.tile_size(view)
        resized = Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(resized, dtype=np.float32)

    def render_row(self, data: Volume, view: View) -> Volume:
        """Return all slices of one view (RAS order) beside each other, NaN between them."""
        height, width = self.tile_size(view)
        row = np.full((height, self.cell_width * SLICES_PER_VIEW), np.nan, dtype=np.float32)
        for start, index in zip(self.tile_starts(view), self.indices[view.axis], strict=True):
            row[:, start : start + width] = self.render_tile(data, view, index)
        return row


def plan_layout(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> Layout:
    """Choose evenly spaced slices and a scale so that the brain, or else all, fills the figure."""
    orientation = nibabel.io_orientation(affine)
    ras = np.asarray(nibabel.apply_orientation(mask, orientation), dtype=bool)
    ras_affine = affine @ nibabel.orientations.inv_ornt_aff(orientation, mask.shape)
    voxel_sizes = tuple(float(size) for size in nibabel.affines.voxel_sizes(ras_affine))
    box, indices, lengths = [], [], []
    for axis, (count, size) in enumerate(zip(ras.shape, voxel_sizes, strict=True)):
        occupied = np.flatnonzero(ras.any(axis=tuple({0, 1, 2} - {axis})))
        low, high = (occupied[0], occupied[-1] + 1) if occupied.size else (0, count)
        centres = low + (np.arange(SLICES_PER_VIEW) + 0.5) * (high - low) / SLICES_PER_VIEW
        indices.append(tuple(sorted({min(int(centre), int(high) - 1) for centre in centres})))
        margin = round(BRAIN_MARGIN_MM / size)
        box.append((max(0, int(low) - margin), min(count, int(high) + margin)))
        lengths.append((box[-1][1] - box[-1][0]) * size)
    pixel_size = max(max(lengths[:2]) / MAX_TILE_WIDTH_PX, max(lengths[1:]) / MAX_TILE_HEIGHT_PX)
    return Layout(orientation, ras_affine, voxel_sizes, tuple(box), tuple(indices), pixel_size)


@frozen
class Window:
    """Intensities displayed black and white."""

    low: float
    high: float

    def normalize(self, data: Volume) -> Volume:
        """Map black to 0 and white to 1."""
        return np.asarray((data - self.low) / (self.high - self.low), dtype=np.float32)

    def grey(self, data: Volume) -> Pixels:
        """Map to grey levels, 0 to 255; NaN (the space between tiles) becomes black."""
        levels = np.clip(np.nan_to_num(self.normalize(data)), 0, 1) * 255
        return np.asarray(levels.round(), dtype=np.uint8)

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g}"


def choose_windows(images: Sequence[Volume], mask: NDArray[np.bool_]) -> tuple[Window, Window]:
    """Return the display windows of two images: the same unless their units differ."""
    windows = []
    for data in images:
        low, high = np.percentile(data[mask] if mask.any() else data, (0.5, 99.5)).tolist()
        low = min(low, 0.0)
        high = low + WINDOW_HEADROOM * (high - low) if high > low else low + 1
        windows.append(Window(low, high))
    ranges = [window.high - window.low for window in windows]
    if max(ranges) > MAX_WINDOW_RATIO * min(ranges):
        return windows[0], windows[1]
    common = Window(min(w.low for w in windows), max(w.high for w in windows))
    return common, common


def overlay_change(grey: Pixels, change: Volume) -> Pixels:
    """Overlay a change (H, W), 1 being full colour, on grey levels (H, W).

    Increases are red and decreases blue; no change is transparent, so that anatomy is visible.
    """
    signed = np.clip(np.nan_to_num(change), -1, 1)[..., None]
    opacity = MAX_OVERLAY_OPACITY * np.abs(signed)
    colour = np.where(signed > 0, INCREASE_RGB, DECREASE_RGB)
    # The image is dimmed, or white matter would wash the colours out.
    mixed = (1 - opacity) * (0.75 * grey[..., None].astype(np.float32)) + opacity * colour
    return np.asarray(mixed.round(), dtype=np.uint8)


@frozen(eq=False)
class Contour:
    """The outline where a volume (X, Y, Z) in RAS order exceeds a level, in a colour."""

    volume: Volume
    level: float
    rgb: tuple[int, int, int]

    def render_row(self, layout: Layout, view: View) -> Pixels:
        """Return the outline over a row of tiles (H, W, 4), transparent elsewhere."""
        levels = np.nan_to_num(layout.render_row(self.volume, view))
        outline = inner_boundary(levels > self.level)
        return np.where(outline[..., None], np.array((*self.rgb, 255), np.uint8), np.uint8(0))


def inner_boundary(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels (H, W) of a region with a neighbour outside; the picture's edge does not count."""
    interior = ndimage.binary_erosion(region, border_value=1)
    return np.asarray(region & ~interior)
