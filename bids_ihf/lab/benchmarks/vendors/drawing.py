"""Drawing figures as PNG files that are small, and the same for the same content."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_DPI = 100
MAX_FIGURE_BYTES = 300 * 1024
"""Size of a figure of example slices."""

PALETTE_SIZES = (96, 64, 32, 16)
"""Numbers of colours that a figure of example slices is reduced to, until it is small enough."""


def new_figure(width: float, height: float, background: str = "white") -> Figure:
    """An empty figure, of a size in inches, that is drawn without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=background)
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Any) -> bytes:
    """A figure as PNG."""
    stream = io.BytesIO()
    # Without the version of matplotlib, the file changes only with what it shows.
    figure.savefig(stream, format="png", dpi=FIGURE_DPI, metadata={"Software": None})
    return stream.getvalue()


def with_palette(png: bytes) -> bytes:
    """The figure with the largest palette that keeps it below MAX_FIGURE_BYTES."""
    with Image.open(io.BytesIO(png)) as image:
        colours = image.convert("RGB")
    for size in PALETTE_SIZES:
        stream = io.BytesIO()
        quantized = colours.quantize(size, dither=Image.Dither.NONE)
        quantized.save(stream, format="png", optimize=True)
        if stream.tell() <= MAX_FIGURE_BYTES:
            break
    return stream.getvalue()
