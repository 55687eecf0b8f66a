"""Looks by which groups are told apart, with and without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#6a3d9a", "#444444")
"""Of Okabe and Ito (2008), the yellow darkened for a white page, and two more."""
DASHES = ("", "8 3", "3 3", "8 3 2 3")
SHAPES = ("disc", "square", "diamond", "triangle")


def looks(names: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Colour and number of the shape (or dashes) of each name; no pair is used twice before all
    are."""
    return {
        name: (COLOURS[place % len(COLOURS)], (place + place // len(COLOURS)) % len(SHAPES))
        for place, name in enumerate(names)
    }


def shape(kind: str, x: float, y: float, *, fill: str, words: str = "", size: float = 4) -> str:
    """Return a small mark of an SVG; `words` show when the pointer rests on it."""
    from html import escape

    title = f"<title>{escape(words)}</title>" if words else ""
    if kind == "disc":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" fill="{fill}">{title}</circle>'
    corners = {
        "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        "triangle": ((0, -1.2), (1.2, 1), (-1.2, 1)),
    }[kind]
    path = " ".join(f"{x + size * right:.1f},{y + size * down:.1f}" for right, down in corners)
    return f'<polygon points="{path}" fill="{fill}">{title}</polygon>'
