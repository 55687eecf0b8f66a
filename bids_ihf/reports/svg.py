"""Small SVG documents written by hand: pictures embedded as PNG, lines and text as themselves."""

from __future__ import annotations

import base64
import io
import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

FONT = "Helvetica, Arial, sans-serif"


def document(
    width: float, height: float, *, title: str, description: str, body: Iterable[str], fill: str
) -> bytes:
    """Return an SVG file; it has a view box and no size, so that it scales to its place.

    `title` and `description` are what a screen reader says.  The file is plain ASCII, so that no
    reader can mistake its encoding.
    """
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title description"',
        f' viewBox="0 0 {width:g} {height:g}" font-family="{FONT}">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f'<rect width="{width:g}" height="{height:g}" fill="{fill}"/>',
        *body,
        "</svg>\n",
    ]
    return "\n".join(parts).encode("ascii", "xmlcharrefreplace")


def element(
    name: str, width: float, height: float, *, title: str, description: str, body: Iterable[str]
) -> str:
    """Return an SVG element for a page that has several: what they name begins with `name`."""
    drawn = document(width, height, title=title, description=description, body=body, fill="#fff")
    text = drawn.decode()
    for inner in ("title", "description"):
        text = text.replace(f'id="{inner}"', f'id="{name}-{inner}"')
    labels = f'aria-labelledby="{name}-title {name}-description"'
    text = text.replace('aria-labelledby="title description"', labels)
    return text.replace("<svg ", f'<svg style="max-width: {width:.0f}px" ', 1)


def picture(pixels: NDArray[np.uint8], x: float, y: float) -> str:
    """Return an image element, one unit a pixel: (H, W) grey, (H, W, 3) colour, or (H, W, 4)
    colour with opacity."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", compress_level=6)
    data = base64.b64encode(stream.getvalue()).decode()
    height, width = pixels.shape[:2]
    return (
        f'<image x="{x:g}" y="{y:g}" width="{width}" height="{height}" '
        f'href="data:image/png;base64,{data}"/>'
    )


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: float = 12,
    anchor: str = "start",
    fill: str = "#222",
    turn: float = 0,
    halo: str | None = None,
) -> str:
    """Return a line of text; `turn` is in degrees about its anchor, `halo` a colour around it."""
    more = f' transform="rotate({turn:g} {x:g} {y:g})"' if turn else ""
    if halo:
        more += f' stroke="{halo}" stroke-width="3" paint-order="stroke"'
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}" '
        f'fill="{fill}"{more}>{escape(words)}</text>'
    )


def line(
    points: Sequence[tuple[float, float]], *, stroke: str, width: float = 1, dashes: str = ""
) -> str:
    """Return a line through points; `dashes` are lengths of strokes and gaps."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    more = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width:g}"{more}/>'
    )


def area(points: Sequence[tuple[float, float]], *, fill: str, opacity: float) -> str:
    """Return a filled polygon without an outline."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{path}" fill="{fill}" fill-opacity="{opacity:g}"/>'


def dot(x: float, y: float, *, fill: str, words: str = "") -> str:
    """Return a small disc; `words` show when the pointer rests on it."""
    title = f"<title>{escape(words)}</title>" if words else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}">{title}</circle>'


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers from `low` to `high`."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    rough = span / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    # Multiplied anew each time: added up, 0.1 would become 0.30000000000000004.
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]
