"""Mosaics of slices and the alternating view, on the image's native grid, as accessible SVG.

Figures have a view box and no size, so that they scale with the page, a title and a description
for screen readers, and are plain ASCII, so that no reader can mistake their encoding.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from PIL import Image

from bids_ihf.reports.slices import (
    SLICE_VIEWS,
    SLICES_PER_VIEW,
    Contour,
    Layout,
    Pixels,
    View,
    Volume,
    Window,
    overlay_change,
)
from bids_ihf.reports.templates import render

LABEL_WIDTH_PX, HEADER_HEIGHT_PX, VIEW_GAP_PX, ROW_GAP_PX = 64, 30, 10, 2
FLICKER_ZOOM = 2.0
"""Magnification of the alternating view relative to the mosaics."""
FLICKER_HEADER_PX, FLICKER_GAP_PX = 34, 6


@frozen(eq=False)
class Row:
    """All slices of one view as pictures laid over each other: (H, W) grey, or (H, W, 3 or 4)."""

    view: View
    label: str
    pictures: Sequence[Pixels]


@frozen(eq=False)
class SliceFigures:
    """Draws figures of an image's slices; `windows` are those before and after harmonization."""

    name: str
    layout: Layout
    windows: tuple[Window, Window]

    def comparison(self, volumes: Mapping[str, Volume]) -> bytes:
        """Draw each view of each volume beneath each other; "before" has the first window."""
        before, after = self.windows
        rows = [
            self._grey_row(view, label, data, before if label == "before" else after)
            for view in SLICE_VIEWS
            for label, data in volumes.items()
        ]
        windowing = f"display window {before} for all"
        if before != after:
            windowing = f"units differ: display window {before} before, {after} after"
        return self._draw(
            rows,
            title=f"{self.name} before and after harmonization",
            heading=f"{self.name}: {windowing}",
        )

    def outlines(self, outlined: str, image: Volume, contours: Sequence[Contour]) -> bytes:
        """Draw each view of the image before with outlines on it; `outlined` says of what."""
        rows = []
        for view in SLICE_VIEWS:
            row = self._grey_row(view, "before", image, self.windows[0])
            lines = [contour.render_row(self.layout, view) for contour in contours]
            rows.append(attrs.evolve(row, pictures=[*row.pictures, *lines]))
        return self._draw(
            rows,
            title=f"{self.name} with the outline of the {outlined}",
            heading=f"{self.name}: outline of the {outlined}",
        )

    def change_map(self, after: Volume, change: Volume, limit: float) -> bytes:
        """Draw a change in colour over the harmonized image; colours are full at `limit`.

        If units differ, the change is given as a fraction of each image's display window.
        """
        rows = []
        for view in SLICE_VIEWS:
            (grey,) = self._grey_row(view, "change", after, self.windows[1]).pictures
            scaled = self.layout.render_row(change, view) / np.float32(limit)
            rows.append(Row(view, "change", [overlay_change(grey, scaled)]))
        unit, full_colour = "in image units", f"{limit:.3g}"
        if self.windows[0] != self.windows[1]:
            unit = "relative to the display windows (units differ)"
            full_colour = f"{100 * limit:.3g} %"
        return self._draw(
            rows,
            title=f"{self.name} change map",
            heading=f"{self.name}: harmonized minus original, {unit}",
            full_colour=full_colour,
        )

    def flicker(self, before: Volume, after: Volume) -> bytes:
        """Draw the middle slice of each view magnified, both images alternating in one place."""
        layout = attrs.evolve(self.layout, pixel_size=self.layout.pixel_size / FLICKER_ZOOM)
        height = max(layout.tile_size(view)[0] for view in SLICE_VIEWS)
        images, x = [], 0
        for data, window in zip((before, after), self.windows, strict=True):
            pictures, x = [], 0
            for view in SLICE_VIEWS:
                indices = layout.indices[view.axis]
                pixels = layout.render_tile(data, view, indices[len(indices) // 2])
                y = FLICKER_HEADER_PX + (height - len(pixels)) // 2
                pictures.append(_encode(window.grey(pixels), x, y))
                x += pixels.shape[1] + FLICKER_GAP_PX
            images.append(pictures)
        return _render_ascii(
            "flicker.svg.j2",
            width=x - FLICKER_GAP_PX,
            height=FLICKER_HEADER_PX + height,
            title=f"{self.name} before and after harmonization, alternating",
            images=dict(zip(("before", "after"), images, strict=True)),
        )

    def _grey_row(self, view: View, label: str, data: Volume, window: Window) -> Row:
        return Row(view, label, [window.grey(self.layout.render_row(data, view))])

    def _draw(self, rows: Sequence[Row], **texts: str) -> bytes:
        """Lay out rows; slice positions are written on the last row of each view."""
        layout, top = self.layout, HEADER_HEIGHT_PX
        drawn = []
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            view = row.view
            height, width = layout.tile_size(view)
            starts = [LABEL_WIDTH_PX + start for start in layout.tile_starts(view)]
            positions = [
                (start + width / 2, f"{'xyz'[view.axis]} = {layout.position(view, index):.0f} mm")
                for start, index in zip(starts, layout.indices[view.axis], strict=True)
            ]
            is_last = following is None or following.view is not view
            drawn.append(
                {
                    "row": row,
                    "pictures": [_encode(pixels, LABEL_WIDTH_PX, top) for pixels in row.pictures],
                    "middle": top + height / 2,
                    "bottom": top + height - 3,
                    "x_range": (starts[0] + 2, starts[-1] + width - 2),
                    "positions": positions if is_last else [],
                }
            )
            top += height + (VIEW_GAP_PX if is_last else ROW_GAP_PX)
        width = LABEL_WIDTH_PX + layout.cell_width * SLICES_PER_VIEW
        ramp = np.repeat(np.linspace(-1, 1, 160, dtype=np.float32)[None], 12, axis=0)
        colours = overlay_change(np.full(ramp.shape, 80, np.uint8), ramp)
        bar = _encode(colours, width - 254, 9) if "full_colour" in texts else None
        size = {"width": width, "height": top}
        return _render_ascii("mosaic.svg.j2", rows=drawn, colour_bar=bar, **size, **texts)


def _encode(pixels: Pixels, x: int, y: int) -> dict[str, Any]:
    """Return position, size and PNG of an image element, one unit per pixel."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", compress_level=6)
    height, width = pixels.shape[:2]
    png = base64.b64encode(stream.getvalue()).decode()
    return {"x": x, "y": y, "width": width, "height": height, "png": png}


def _render_ascii(template: str, **context: Any) -> bytes:
    return render(template, **context).encode("ascii", "xmlcharrefreplace")
