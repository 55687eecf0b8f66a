"""SVG pictures as text: rows of slices as one compressed picture each, with labels as text."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 1400.0
GAP = 14.0
LABEL = 118.0
HEAD = 34.0
QUALITY = 90
FONT = "Helvetica, Arial, sans-serif"
INK, PAPER, FAINT = "#e8e8e8", "#000000", "#9a9a9a"


@frozen(eq=False)
class Row:
    """A row of a mosaic: pixels (H, W) or (H, W, 3) in uint8, its size in mm, and its labels."""

    pixels: NDArray[np.uint8]
    size: tuple[float, float]
    label: str
    note: str = ""
    marks: tuple[str, str] = field(default=("", ""))


def mosaic(rows: list[Row], *, title: str, text: str, legend: str = "") -> bytes:
    """Rows of slices beneath each other, all on one scale, centred.

    Parameters
    ----------
    rows
        From top to bottom; each is one picture.
    title
        Short title of the picture.
    text
        What it shows, for those who cannot see it.
    legend
        SVG elements to put at its top right, within the height of the head line.
    """
    scale = (WIDTH - LABEL) / max(row.size[0] for row in rows)
    y, parts = HEAD, [_text(GAP, 22, title, 16, INK, weight="bold"), legend]
    for row in rows:
        width, height = (side * scale for side in row.size)
        x = LABEL + (WIDTH - LABEL - width) / 2
        parts += [
            _text(GAP, y + height / 2, row.label, 15, INK),
            _text(GAP, y + height / 2 + 17, row.note, 12, FAINT),
            _picture(row.pixels, x, y, width, height),
            _text(x + 4, y + 15, row.marks[0], 12, FAINT),
            _text(x + width - 4, y + 15, row.marks[1], 12, FAINT, anchor="end"),
        ]
        y += height + GAP
    return document("".join(parts), WIDTH, y, title=title, text=text, background=PAPER)


def document(
    body: str, width: float, height: float, *, title: str, text: str, background: str
) -> bytes:
    """A whole SVG file; it has no size of its own, so that it fills the page it is shown in."""
    # On one line from its start: the report assembler would write another form of the tag anew.
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'role="img" aria-labelledby="title desc" font-family="{FONT}">'
        f'<title id="title">{escape(title)}</title><desc id="desc">{escape(text)}</desc>'
        f'<rect width="100%" height="100%" fill="{background}"/>{body}</svg>'
    ).encode()


def gradient(colors: list[str], low: str, high: str) -> str:
    """A colour bar for the head line of a mosaic, its ends labelled."""
    stops = "".join(
        f'<stop offset="{index / (len(colors) - 1):.3f}" stop-color="{color}"/>'
        for index, color in enumerate(colors)
    )
    right, length = WIDTH - GAP - 110, 220.0
    return (
        f'<defs><linearGradient id="scale">{stops}</linearGradient></defs>'
        f'<rect x="{right - length}" y="9" width="{length}" height="15" fill="url(#scale)"/>'
        + _text(right - length - 8, 22, low, 14, INK, anchor="end")
        + _text(right + 8, 22, high, 14, INK)
    )


def _text(
    x: float,
    y: float,
    words: str,
    size: int,
    color: str,
    *,
    anchor: str = "start",
    weight: str = "",
) -> str:
    if not words:
        return ""
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" '
        f'text-anchor="{anchor}"{bold}>{escape(words)}</text>'
    )


def _picture(pixels: NDArray[np.uint8], x: float, y: float, width: float, height: float) -> str:
    data = base64.b64encode(_jpeg(pixels)).decode()
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'preserveAspectRatio="none" href="data:image/jpeg;base64,{data}"/>'
    )


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Compress without halving the resolution of the colours."""
    from PIL import Image

    stream = io.BytesIO()
    options: dict[str, Any] = {"quality": QUALITY, "subsampling": 0, "optimize": True}
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "JPEG", **options)
    return stream.getvalue()
