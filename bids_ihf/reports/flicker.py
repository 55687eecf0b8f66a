"""Before and after in the same place, by turns: the eye catches what moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from bids_ihf.reports import svg
from bids_ihf.reports.mosaic import VIEWS, tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.reports.mosaic import Layout
    from bids_ihf.reports.window import Window

LARGER = 2.0
"""How much larger a tile is than in the other figures."""
HEADER, GAP = 34, 6
# `file.svg#before` and `file.svg#after` stand still, for the page's buttons; so does the picture
# where a reader's system asks for less motion, and on paper.
STYLE = """<style>
@keyframes turn { 0%, 49.9% { opacity: 0 } 50%, 100% { opacity: 1 } }
#over { animation: turn 1.6s infinite }
#before:target ~ #over { animation: none; opacity: 0 }
#after:target ~ #over { animation: none; opacity: 1 }
@media print, (prefers-reduced-motion: reduce) { #over { animation: none } }
</style>"""


def flicker_figure(
    name: str,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    layout: Layout,
    windows: tuple[Window, Window],
) -> bytes:
    """Draw the middle slice of each view large, both images in one place."""
    larger = attrs.evolve(layout, pixel=layout.pixel / LARGER)
    sizes = [larger.tile_size(view) for view in VIEWS]
    height = max(size[0] for size in sizes)
    width = sum(size[1] for size in sizes) + GAP * (len(VIEWS) - 1)
    layers = []
    for data, window, words in zip((before, after), windows, ("before", "after"), strict=True):
        ras = larger.to_ras(data)
        body, left = [], 0
        for view, (own_height, own_width) in zip(VIEWS, sizes, strict=True):
            indices = larger.indices[view.axis]
            pixels = window.grey(tile(ras, larger, view, indices[len(indices) // 2]))
            top = HEADER + (height - own_height) // 2
            body.append(svg.picture(pixels.round().astype(np.uint8), left, top))
            left += own_width + GAP
        colour = "#bbb" if words == "before" else "#ff8a80"
        body.append(f'<rect width="{width}" height="{HEADER - 4}" fill="#000"/>')
        body.append(svg.text(8, 22, words, size=18, fill=colour))
        layers.append("\n".join(body))
    return svg.document(
        width,
        HEADER + height,
        title=f"{name} before and after harmonization by turns",
        description="The middle axial, coronal and sagittal slice of both images in one place.",
        body=[
            STYLE,
            '<g id="before"/><g id="after"/>',
            f"<g>{layers[0]}</g>",
            f'<g id="over">{layers[1]}</g>',
        ],
        fill="#000",
    )
