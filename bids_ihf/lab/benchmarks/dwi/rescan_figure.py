"""The figure of real rescans: FA and MD before and after, and their differences to the target."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.lab.benchmarks.dwi.figures import MAP_RANGES, show_map
from bids_ihf.lab.benchmarks.dwi.methods import NO_HARMONIZATION, SHELL_MODEL_KNOWN_SCANNER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float32]

FULL_COLOUR_DIFFERENCES = {"FA": 0.15, "MD": 0.2}
"""Differences drawn in full colour."""

SHOWN_METHODS = {NO_HARMONIZATION: "untouched", SHELL_MODEL_KNOWN_SCANNER: "harmonized"}
"""Methods that are drawn, and what they are called."""


@frozen(eq=False)
class RescanPanel:
    """Maps (X, Y, Z) of a pair on the target's grid: the target's, those of the source by method,
    and the common brain mask."""

    title: str
    target: Mapping[str, Array]
    maps: dict[str, dict[str, Array]]
    mask: NDArray[np.bool_]


def draw_rescans(panels: Sequence[RescanPanel]) -> bytes:
    """PNG, a row for each pair: FA and MD of the target, of the source untouched and harmonized
    (source profile), and the differences to the target."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 1 + 2 * len(SHOWN_METHODS)
    figure = Figure(
        figsize=(1.25 * columns * len(MAP_RANGES), 1.8 * len(panels)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(len(panels), 1, squeeze=False)
    for (part,), panel in zip(parts, panels, strict=True):
        part.suptitle(panel.title, fontsize=8)
        axes = part.subplots(1, columns * len(MAP_RANGES))
        for name, row in zip(MAP_RANGES, np.split(axes, len(MAP_RANGES)), strict=True):
            _draw_map(row, panel, name)
    stream = io.BytesIO()
    # Without the version of matplotlib, the file changes only with what it shows.
    figure.savefig(stream, format="png", dpi=80, metadata={"Software": None})
    return stream.getvalue()


def _draw_map(row: Any, panel: RescanPanel, name: str) -> None:
    """One map of a pair in a row of axes: the middle slice of the common brain."""
    x, y, _ = ndimage.find_objects(panel.mask.astype(np.uint8))[0]
    level = int(np.argwhere(panel.mask)[:, 2].mean())
    inside, truth = panel.mask[x, y, level], panel.target[name][x, y, level]
    limits, limit = MAP_RANGES[name], FULL_COLOUR_DIFFERENCES[name]
    show_map(row[0], np.where(inside, truth, 0), "gray", limits, f"{name}, target")
    for axes, (method, text) in zip(np.split(row[1:], 2), SHOWN_METHODS.items(), strict=True):
        values = panel.maps[method][name][x, y, level]
        show_map(axes[0], np.where(inside, values, 0), "gray", limits, text)
        difference = np.where(inside, values - truth, 0)
        show_map(axes[1], difference, "RdBu_r", (-limit, limit), f"difference, ±{limit:g}")
