"""Mosaics of slices and the alternating view, on the image's native grid, as accessible SVG.

Figures have a view box and no size, so that they scale with the page, a title and a description
for screen readers, and are plain ASCII, so that no reader can mistake their encoding.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs import frozen
from PIL import Image

from bids_ihf.reports.slices import (
    SLICES_PER_VIEW,
    VIEWS,
    Window,
    overlay_change,
    render_row,
    render_tile,
)
from bids_ihf.reports.templates import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bids_ihf.reports.slices import Contour, Layout, View

    Volume = NDArray[np.float32]
    Pixels = NDArray[np.uint8]

LABEL_WIDTH_PX, HEADER_HEIGHT_PX, VIEW_GAP_PX, ROW_GAP_PX = 64, 30, 10, 2
FLICKER_ZOOM = 2.0
"""Magnification of the alternating view relative to the mosaics."""
FLICKER_HEADER_PX, FLICKER_GAP_PX = 34, 6
FULL_COLOUR_PERCENTILE = 99.0
"""Percentile of the absolute change in the brain that is displayed in full colour."""


@frozen(eq=False)
class Row:
    """A row of a mosaic: all slices of one view, drawn from pictures laid over each other.

    Pictures are (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGB with opacity.
    """

    view: View
    label: str
    pictures: Sequence[Pixels]
    has_positions: bool = True


def comparison_mosaic(
    name: str, volumes: Mapping[str, Volume], layout: Layout, windows: tuple[Window, Window]
) -> bytes:
    """Draw each view of each volume beneath each other; "before" has the first window."""
    reoriented = {label: layout.to_ras(data) for label, data in volumes.items()}
    *_, last = volumes
    rows = [
        Row(
            view,
            label,
            [windows[0 if label == "before" else 1].grey(render_row(data, layout, view))],
            has_positions=label == last,
        )
        for view in VIEWS
        for label, data in reoriented.items()
    ]
    windowing = f"display window {windows[0]} for all"
    if windows[0] != windows[1]:
        windowing = f"units differ: display window {windows[0]} before, {windows[1]} after"
    return _mosaic(
        rows,
        layout,
        title=f"{name} before and after harmonization",
        description="Axial, coronal and sagittal slices; "
        f"rows from top: {', '.join(volumes)}; {windowing}.",
        heading=f"{name}: {windowing}",
    )


def contour_mosaic(
    name: str,
    subject: str,
    image: Volume,
    contours: Sequence[Contour],
    layout: Layout,
    window: Window,
) -> bytes:
    """Draw each view of an image with outlines of the `subject` on it."""
    reoriented = layout.to_ras(image)
    rows = [
        Row(
            view,
            "before",
            [
                window.grey(render_row(reoriented, layout, view)),
                *(contour.render_row(layout, view) for contour in contours),
            ],
        )
        for view in VIEWS
    ]
    return _mosaic(
        rows,
        layout,
        title=f"{name} with the outline of the {subject}",
        description="Axial, coronal and sagittal slices of the image before harmonization.",
        heading=f"{name}: outline of the {subject}",
    )


def change_mosaic(
    name: str,
    after: Volume,
    change: Volume,
    mask: NDArray[np.bool_],
    layout: Layout,
    window: Window,
    *,
    relative: bool = False,
) -> bytes:
    """Draw the change in colour over the harmonized image: red increase, blue decrease.

    `relative` says that the change is given as a fraction of each image's display window.
    """
    magnitude = np.abs(change[mask] if mask.any() else change)
    limit = float(np.percentile(magnitude, FULL_COLOUR_PERCENTILE)) or 1.0
    reoriented, changes = layout.to_ras(after), layout.to_ras(change)
    rows = []
    for view in VIEWS:
        grey = window.grey(render_row(reoriented, layout, view))
        scaled = render_row(changes, layout, view) / np.float32(limit)
        rows.append(Row(view, "change", [overlay_change(grey, scaled)]))
    unit = "relative to the display windows (units differ)" if relative else "in image units"
    full_colour = f"{100 * limit:.3g} %" if relative else f"{limit:.3g}"
    return _mosaic(
        rows,
        layout,
        title=f"{name} change map",
        description=f"Harmonized minus original, {unit}: red where intensity increased, blue "
        f"where it decreased; full colour at {full_colour}.",
        heading=f"{name}: harmonized minus original, {unit}",
        full_colour=full_colour,
    )


def flicker_figure(
    name: str, before: Volume, after: Volume, layout: Layout, windows: tuple[Window, Window]
) -> bytes:
    """Draw the middle slice of each view magnified, both images alternating in one place."""
    magnified = attrs.evolve(layout, pixel_size=layout.pixel_size / FLICKER_ZOOM)
    sizes = [magnified.tile_size(view) for view in VIEWS]
    height = max(size[0] for size in sizes)
    images = []
    for data, window in zip((before, after), windows, strict=True):
        reoriented = magnified.to_ras(data)
        pictures, left = [], 0
        for view, (tile_height, tile_width) in zip(VIEWS, sizes, strict=True):
            indices = magnified.indices[view.axis]
            pixels = render_tile(reoriented, magnified, view, indices[len(indices) // 2])
            top = FLICKER_HEADER_PX + (height - tile_height) // 2
            pictures.append(_picture(window.grey(pixels), left, top))
            left += tile_width + FLICKER_GAP_PX
        images.append(pictures)
    return _to_ascii(
        "flicker.svg.j2",
        width=sum(size[1] for size in sizes) + FLICKER_GAP_PX * (len(VIEWS) - 1),
        height=FLICKER_HEADER_PX + height,
        title=f"{name} before and after harmonization, alternating",
        description="The middle axial, coronal and sagittal slices of both images, in one place.",
        before=images[0],
        after=images[1],
    )


def _mosaic(rows: Sequence[Row], layout: Layout, **texts: str) -> bytes:
    top = HEADER_HEIGHT_PX
    drawn = []
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        height, width = layout.tile_size(row.view)
        starts = [LABEL_WIDTH_PX + start for start in layout.tile_starts(row.view)]
        axis = "xyz"[row.view.axis]
        positions = [
            (start + width / 2, f"{axis} = {layout.position(row.view, index):.0f} mm")
            for start, index in zip(starts, layout.indices[row.view.axis], strict=True)
        ]
        drawn.append(
            {
                "row": row,
                "pictures": [_picture(pixels, LABEL_WIDTH_PX, top) for pixels in row.pictures],
                "middle": top + height / 2,
                "bottom": top + height - 3,
                "left": starts[0] + 2,
                "right": starts[-1] + width - 2,
                "positions": positions if row.has_positions else [],
            }
        )
        same_view = following is not None and following.view is row.view
        top += height + (ROW_GAP_PX if same_view else VIEW_GAP_PX)
    width = LABEL_WIDTH_PX + layout.cell_width * SLICES_PER_VIEW
    colour_bar = _colour_bar(width) if "full_colour" in texts else None
    return _to_ascii(
        "mosaic.svg.j2", width=width, height=top, rows=drawn, colour_bar=colour_bar, **texts
    )


def _colour_bar(width: int) -> dict[str, Any]:
    ramp = np.repeat(np.linspace(-1, 1, 160, dtype=np.float32)[None], 12, axis=0)
    return _picture(overlay_change(np.full(ramp.shape, 80, np.uint8), ramp), width - 254, 9)


def _picture(pixels: Pixels, left: float, top: float) -> dict[str, Any]:
    """Return position, size and PNG of an image element, one unit per pixel."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", compress_level=6)
    height, width = pixels.shape[:2]
    png = base64.b64encode(stream.getvalue()).decode()
    return {"x": left, "y": top, "width": width, "height": height, "png": png}


def _to_ascii(template: str, **context: Any) -> bytes:
    return render(template, **context).encode("ascii", "xmlcharrefreplace")
