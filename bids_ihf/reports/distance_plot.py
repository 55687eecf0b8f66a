"""Plot of the distance to the target before and after harmonization, by vendor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_ihf.reports import svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_ihf.bids.harmonized_images import HarmonizedImage

COLUMN = 190
HEIGHT = 320
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 30, 56
BEFORE, AFTER = "#7f7f7f", "#d1495b"
FEW = 300
"""Images up to which every pair of dots is joined by a line."""

Pairs = list[tuple[str, float, float]]


def distance_plot(suffix: str, by_vendor: Mapping[str, Sequence[HarmonizedImage]]) -> str:
    """Return an SVG element with a pair of columns for each vendor, or "" without distances."""
    pairs = {vendor: _pairs(images) for vendor, images in by_vendor.items()}
    pairs = {vendor: found for vendor, found in pairs.items() if found}
    if not pairs:
        return ""
    top = max(max(before, after) for found in pairs.values() for _, before, after in found)
    top = 1.08 * top if top > 0 else 1.0
    width = LEFT + COLUMN * len(pairs) + RIGHT
    body = _axis(top, width)
    lines = sum(map(len, pairs.values())) <= FEW
    for column, (vendor, found) in enumerate(pairs.items()):
        body += _vendor(LEFT + COLUMN * column, vendor, found, top, lines=lines)
    return svg.element(
        suffix,
        width,
        HEIGHT,
        title=f"{suffix}: distance to the target before and after harmonization, by vendor",
        description="A dot for each image, a bar at the median of its column.",
        body=body,
    )


def _pairs(images: Sequence[HarmonizedImage]) -> Pairs:
    found = []
    for image in images:
        before, after = image.number("distance_before"), image.number("distance_after")
        if before is not None and after is not None:
            found.append((f"{image.stem}_{image.suffix}", before, after))
    return found


def _height(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - max(0.0, value) / top * (HEIGHT - BOTTOM - TOP)


def _axis(top: float, width: float) -> list[str]:
    parts = [
        svg.text(
            18, (TOP + HEIGHT - BOTTOM) / 2, "distance to the target", anchor="middle", turn=-90
        ),
    ]
    for value in svg.ticks(0, top, 5):
        y = _height(value, top)
        parts.append(svg.line([(LEFT, y), (width - RIGHT, y)], stroke="#e3e8ec"))
        parts.append(svg.text(LEFT - 8, y + 4, f"{value:g}", size=11, anchor="end"))
    return parts


def _vendor(left: float, vendor: str, found: Pairs, top: float, *, lines: bool) -> list[str]:
    places = (left + 0.3 * COLUMN, left + 0.7 * COLUMN)
    parts = []
    for index, (name, *values) in enumerate(found):
        # Spread sideways by a fixed pattern, so that equal values do not hide each other.
        shift = 14 * (((index * 0.618) % 1) - 0.5)
        dots = [
            (place + shift, _height(value, top))
            for place, value in zip(places, values, strict=True)
        ]
        if lines:
            parts.append(svg.line(dots, stroke="#ccd3d9"))
        for dot, value, colour in zip(dots, values, (BEFORE, AFTER), strict=True):
            parts.append(svg.dot(*dot, fill=colour, words=f"{name}: {value:.4g}"))
    floor = HEIGHT - BOTTOM
    for column, (place, word) in enumerate(zip(places, ("before", "after"), strict=True)):
        middle = _height(_median([values[column] for _, *values in found]), top)
        parts.append(
            svg.line([(place - 22, middle), (place + 22, middle)], stroke="#222", width=2)
        )
        parts.append(svg.text(place, floor + 18, word, size=11, anchor="middle", fill="#555"))
    words = f"{vendor} ({len(found)})"
    parts.append(svg.text(left + COLUMN / 2, floor + 38, words, size=13, anchor="middle"))
    return parts


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
