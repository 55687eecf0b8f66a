"""Densities of the intensities in the brain, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.reports import svg

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, HEIGHT = 900, 300
LEFT, RIGHT, TOP, BOTTOM = 40, 20, 40, 46
BINS = 256
SMOOTHING = 4.0
"""Width of the kernel in bins: whole-numbered intensities would else look like a comb."""
COLOURS = {"before": "#7f7f7f", "after": "#d1495b"}


def density_figure(
    name: str,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    mask: NDArray[np.bool_],
    *,
    shared: bool,
) -> bytes:
    """Draw both densities over one axis.

    `shared` says that both images have comparable units; if not, each is divided by its own 99.5
    percentile, since one axis of raw units would show one of them as a single line.
    """
    values = [data[mask] if mask.any() else data.ravel() for data in (before, after)]
    label = "intensity"
    if not shared:
        values = [data / (_top(data) or 1.0) for data in values]
        label = "intensity / 99.5 percentile of the brain (the units differ)"
    low = min(float(np.percentile(data, 0.1)) for data in values)
    high = max(float(np.percentile(data, 99.9)) for data in values)
    high = high if high > low else low + 1.0
    curves = [density(data, low, high) for data in values]
    body = _axis(low, high, label)
    peak = max(float(curve.max()) for curve in curves) or 1.0
    for curve, (which, colour) in zip(curves, COLOURS.items(), strict=True):
        body += _curve(curve / peak, colour)
        place = LEFT + 12 + 80 * list(COLOURS).index(which)
        body.append(svg.line([(place, TOP - 16), (place + 18, TOP - 16)], stroke=colour, width=3))
        body.append(svg.text(place + 23, TOP - 12, which, size=12))
    body.append(svg.text(WIDTH - RIGHT, TOP - 12, name, size=12, anchor="end"))
    return svg.document(
        WIDTH,
        HEIGHT,
        title=f"{name} intensity densities in the brain before and after harmonization",
        description=f"Share of voxels by {label}, from {low:.4g} to {high:.4g}.",
        body=body,
        fill="#fff",
    )


def density(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    """Return a density over `BINS` equal bins, smoothed."""
    from scipy.ndimage import gaussian_filter1d

    counts, _ = np.histogram(values, bins=BINS, range=(low, high))
    share = counts / max(1, counts.sum()) * BINS / (high - low)
    return np.asarray(gaussian_filter1d(share, SMOOTHING), dtype=np.float64)


def _top(data: NDArray[np.float32]) -> float:
    return float(np.percentile(data, 99.5))


def _place(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _curve(heights: NDArray[np.float64], colour: str) -> list[str]:
    floor = HEIGHT - BOTTOM
    points = [
        (_place((index + 0.5) / BINS), floor - height * (floor - TOP))
        for index, height in enumerate(heights.tolist())
    ]
    closed = [(points[0][0], floor), *points, (points[-1][0], floor)]
    return [
        svg.area(closed, fill=colour, opacity=0.15),
        svg.line(points, stroke=colour, width=2),
    ]


def _axis(low: float, high: float, label: str) -> list[str]:
    floor = HEIGHT - BOTTOM
    parts = [svg.line([(LEFT, floor), (WIDTH - RIGHT, floor)], stroke="#444")]
    for value in svg.ticks(low, high, 8):
        x = _place((value - low) / (high - low))
        parts.append(svg.line([(x, floor), (x, floor + 5)], stroke="#444"))
        parts.append(svg.text(x, floor + 18, f"{value:g}", size=11, anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(svg.text(middle, HEIGHT - 8, label, size=12, anchor="middle"))
    parts.append(
        svg.text(LEFT - 12, (TOP + floor) / 2, "density", size=12, anchor="middle", turn=-90)
    )
    return parts
