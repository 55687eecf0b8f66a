"""Plots of the group: densities by vendor and the encoder's statistics by scanner, before and
after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.reports import svg
from bids_ihf.reports.evidence import COUNT, TOP
from bids_ihf.reports.group_data import on_axes, statistics
from bids_ihf.reports.palette import DASHES, SHAPES, looks, shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bids_ihf.reports.evidence import Kept
    from bids_ihf.reports.group_data import Member

PANEL, HEIGHT = 480, 330
LEFT, RIGHT, HEAD, FOOT = 16, 16, 40, 46
SIDES = ("before", "after")
ROW = 20
"""Height of a line of a legend."""


def density_plot(suffix: str, by_vendor: Mapping[str, Sequence[Member]]) -> str:
    """Return an SVG element: mean density of each vendor's images, and of their targets; "" where
    none is known."""
    kept = {
        vendor: [
            m.kept for m in group if m.kept is not None and set(SIDES) <= set(m.kept.densities)
        ]
        for vendor, group in by_vendor.items()
    }
    kept = {vendor: found for vendor, found in kept.items() if found}
    if not kept:
        return ""
    styles = looks(list(kept))
    curves = {
        side: {vendor: _mean(found, side) for vendor, found in kept.items()} for side in SIDES
    }
    everyone = [one for found in kept.values() for one in found if "target" in one.densities]
    target = _mean(everyone, "target") if everyone else None
    peak = max(float(curve.max()) for side in curves.values() for curve in side.values()) or 1.0
    body: list[str] = []
    for number, side in enumerate(SIDES):
        left = PANEL * number
        body += _density_axis(left, side)
        if target is not None:
            body.append(_curve(left, target / peak, "#000", "2 4"))
        for vendor, curve in curves[side].items():
            colour, dashes = styles[vendor]
            body.append(_curve(left, curve / peak, colour, DASHES[dashes]))
    entries = [(f"{v} ({len(kept[v])})", styles[v][0], DASHES[styles[v][1]]) for v in kept]
    if target is not None:
        entries.append(("target", "#000", "2 4"))
    for number, (words, colour, strokes) in enumerate(entries):
        top = HEIGHT + ROW * (number + 0.5)
        line = [(LEFT, top), (LEFT + 30, top)]
        body.append(svg.line(line, stroke=colour, width=3, dashes=strokes))
        body.append(svg.text(LEFT + 38, top + 4, words, size=12))
    return svg.element(
        f"{suffix}-densities",
        2 * PANEL,
        HEIGHT + ROW * len(entries) + 6,
        title=f"{suffix}: intensity densities by vendor, before and after harmonization",
        description=f"Mean over images of {', '.join(kept)}.",
        body=body,
    )


def _mean(found: Sequence[Kept], side: str) -> NDArray[np.float64]:
    return np.asarray(np.mean([one.whole(side) for one in found], axis=0), dtype=np.float64)


def _density_axis(left: float, side: str) -> list[str]:
    floor, right = HEIGHT - FOOT, left + PANEL - RIGHT
    middle = (left + LEFT + right) / 2
    parts = [
        svg.text(middle, HEAD - 16, side, size=14, anchor="middle"),
        svg.line([(left + LEFT, floor), (right, floor)], stroke="#444"),
        svg.text(middle, HEIGHT - 6, "share of the bright end", size=11, anchor="middle"),
    ]
    for value in svg.ticks(0, TOP, 5):
        x = left + LEFT + value / TOP * (PANEL - LEFT - RIGHT)
        parts.append(svg.line([(x, floor), (x, floor + 5)], stroke="#444"))
        parts.append(svg.text(x, floor + 18, f"{value:g}", size=11, anchor="middle"))
    return parts


def _curve(left: float, heights: NDArray[np.float64], colour: str, dashes: str) -> str:
    floor, across = HEIGHT - FOOT, PANEL - LEFT - RIGHT
    points = [
        (left + LEFT + (index + 0.5) / COUNT * across, floor - height * (floor - HEAD))
        for index, height in enumerate(heights.tolist())
    ]
    return svg.line(points, stroke=colour, width=2, dashes=dashes)


def embedding_plot(suffix: str, group: Sequence[Member]) -> str:
    """Return an SVG element: the images on the first two principal axes of their statistics, which
    both sides share; "" for fewer than three images."""
    known, data = statistics(group)
    if len(known) < 3:
        return ""
    placed, share = on_axes(data)
    if placed.shape[-1] < 2:
        return ""
    names = sorted({member.scanner for member in known})
    styles = looks(names)
    low, high = placed[..., :2].min(axis=(0, 1)), placed[..., :2].max(axis=(0, 1))
    span = np.where(high > low, high - low, 1)
    body: list[str] = []
    for number, side in enumerate(SIDES):
        body += _frame(PANEL * number, side, share)
        for member, place in zip(known, (placed[number, :, :2] - low) / span, strict=True):
            colour, kind = styles[member.scanner]
            x = PANEL * number + LEFT + 14 + place[0] * (PANEL - LEFT - RIGHT - 28)
            y = HEIGHT - FOOT - 14 - place[1] * (HEIGHT - HEAD - FOOT - 28)
            words = f"{member.image.full_name}, {member.scanner}"
            body.append(shape(SHAPES[kind], float(x), float(y), fill=colour, words=words))
    for number, name in enumerate(names):
        colour, kind = styles[name]
        top = HEIGHT + ROW * (number + 0.5)
        count = sum(member.scanner == name for member in known)
        body.append(shape(SHAPES[kind], LEFT + 12, top, fill=colour, size=5))
        body.append(svg.text(LEFT + 38, top + 4, f"{name} ({count})", size=12))
    return svg.element(
        f"{suffix}-embedding",
        2 * PANEL,
        HEIGHT + ROW * len(names) + 6,
        title=f"{suffix}: encoder statistics by scanner, before and after harmonization",
        description="A mark for each image on the two principal axes that all share.",
        body=body,
    )


def _frame(left: float, side: str, share: NDArray[np.float64]) -> list[str]:
    floor, right = HEIGHT - FOOT, left + PANEL - RIGHT
    corners = [
        (left + LEFT, HEAD), (right, HEAD), (right, floor), (left + LEFT, floor),
        (left + LEFT, HEAD),
    ]  # fmt: skip
    words = f"first axis ({100 * share[0]:.0f} % of the variance)"
    middle = (left + LEFT + right) / 2
    parts = [
        svg.text(middle, HEAD - 16, side, size=14, anchor="middle"),
        svg.line(corners, stroke="#c5ccd3"),
        svg.text(middle, floor + 20, words, size=11, anchor="middle"),
    ]
    if left == 0:
        words = f"second axis ({100 * share[1]:.0f} %)"
        parts.append(svg.text(12, (HEAD + floor) / 2, words, size=11, anchor="middle", turn=-90))
    return parts
