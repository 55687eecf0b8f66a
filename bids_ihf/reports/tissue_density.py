"""Densities of the intensities of each tissue: before, after, and of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.qc.measures import TISSUE_NAMES
from bids_ihf.reports import svg
from bids_ihf.reports.evidence import COUNT, SIDES, TOP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Densities = Mapping[str, Mapping[str, NDArray[np.float64]]]

PANEL, HEIGHT = 380, 290
LEFT, RIGHT, HEAD, FOOT = 14, 14, 58, 46
WORDS = {"grey": "grey matter", "white": "white matter", "csf": "fluid"}
LOOKS = {"before": ("#7f7f7f", ""), "after": ("#d1495b", ""), "target": ("#1f5fa8", "6 4")}
"""Colour and dashes of a curve, told apart without colour too."""


def tissue_figure(name: str, densities: Densities) -> bytes:
    """Draw a panel for each tissue, a curve for each side that is there."""
    sides = [side for side in SIDES if side in densities]
    body = _legend(sides)
    width = PANEL * len(TISSUE_NAMES)
    body.append(svg.text(width - RIGHT, 20, name, size=12, anchor="end"))
    for number, tissue in enumerate(TISSUE_NAMES):
        curves = {side: _shape(densities[side][tissue]) for side in sides}
        body += _panel(PANEL * number, WORDS[tissue], curves)
    return svg.document(
        width,
        HEIGHT,
        title=f"{name} intensity densities by tissue",
        description=f"Grey matter, white matter and fluid: {', '.join(sides)}; intensities in "
        "shares of the 99.9th percentile of the brain.",
        body=body,
        fill="#fff",
    )


def _shape(density: NDArray[np.float64]) -> NDArray[np.float64]:
    """A density that sums to 1, so that tissues of other size compare; 0 where there is none."""
    return density / max(float(density.sum()), 1e-9)


def _legend(sides: list[str]) -> list[str]:
    parts = []
    for number, side in enumerate(sides):
        left = LEFT + 90 * number
        colour, dashes = LOOKS[side]
        parts.append(
            svg.line([(left, 16), (left + 24, 16)], stroke=colour, width=3, dashes=dashes)
        )
        parts.append(svg.text(left + 30, 20, side, size=12))
    return parts


def _panel(left: float, words: str, curves: Mapping[str, NDArray[np.float64]]) -> list[str]:
    floor, right = HEIGHT - FOOT, left + PANEL - RIGHT
    peak = max((float(curve.max()) for curve in curves.values()), default=0.0) or 1.0
    parts = [
        svg.text((left + LEFT + right) / 2, HEAD - 12, words, size=13, anchor="middle"),
        svg.line([(left + LEFT, floor), (right, floor)], stroke="#444"),
    ]
    across = (right - left - LEFT) / TOP
    for value in svg.ticks(0, TOP, 5):
        x = left + LEFT + value * across
        parts.append(svg.line([(x, floor), (x, floor + 5)], stroke="#444"))
        parts.append(svg.text(x, floor + 18, f"{value:g}", size=11, anchor="middle"))
    middle = (left + LEFT + right) / 2
    parts.append(svg.text(middle, HEIGHT - 8, "share of the bright end", size=11, anchor="middle"))
    for side, curve in curves.items():
        colour, dashes = LOOKS[side]
        points = [
            (left + LEFT + (index + 0.5) * TOP / COUNT * across, floor - y * (floor - HEAD))
            for index, y in enumerate((curve / peak).tolist())
        ]
        if side != "target":
            closed = [(points[0][0], floor), *points, (points[-1][0], floor)]
            parts.append(svg.area([*closed], fill=colour, opacity=0.12))
        parts.append(svg.line(points, stroke=colour, width=2, dashes=dashes))
    return parts
