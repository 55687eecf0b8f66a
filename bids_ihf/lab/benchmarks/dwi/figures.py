"""The figure of the diffusion benchmark: errors of all methods, and maps of one subject."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.lab.benchmarks.dwi.benchmark import FIGURE_PAIR
from bids_ihf.lab.benchmarks.dwi.methods import METHOD_DESCRIPTIONS, NO_HARMONIZATION
from bids_ihf.lab.benchmarks.dwi.tables import ALL_PAIRS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.dwi.benchmark import MapPanel
    from bids_ihf.lab.benchmarks.tables import Row

SCALAR_MAPS = ("FA", "MD", "NDI", "ODI")
MAP_UNITS = {"MD": " (1e-3 mm2/s)"}
MAP_RANGES = {"FA": (0.0, 0.8), "MD": (0.3, 1.6)}
"""Black and white of the maps."""

FULL_COLOUR_ERRORS = {"FA": 0.08, "MD": 0.12}
"""Errors drawn in full colour."""


def draw_dwi_figure(rows: Sequence[Row], panel: MapPanel) -> bytes:
    """PNG: mean absolute errors over all pairs by map above, FA and MD of one subject below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 10), layout="constrained")
    FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(2, 1, height_ratios=(1, 2))
    _error_bars(halves[0], [row for row in rows if row["source"] == ALL_PAIRS])
    _example_maps(halves[1], panel)
    stream = io.BytesIO()
    # Without the version of matplotlib, the file changes only with what it shows.
    figure.savefig(stream, format="png", dpi=90, metadata={"Software": None})
    return stream.getvalue()


def _error_bars(figure: Any, rows: Sequence[Row]) -> None:
    names = [name for name in SCALAR_MAPS if any(row["map"] == name for row in rows)]
    axes = np.atleast_1d(figure.subplots(1, len(names)))
    for number, (axis, name) in enumerate(zip(axes, names, strict=True)):
        errors = {row["method"]: row["mae"] for row in rows if row["map"] == name}
        methods = [method for method in METHOD_DESCRIPTIONS if method in errors]
        colours = ["#999" if method == NO_HARMONIZATION else "#37a" for method in methods]
        axis.barh(range(len(methods)), [errors[method] for method in methods], color=colours)
        axis.set_yticks(range(len(methods)), methods if number == 0 else [""] * len(methods))
        axis.invert_yaxis()
        axis.axvline(errors[NO_HARMONIZATION] / 2, color="#c33", linewidth=0.8, linestyle=":")
        axis.set_title(f"{name}{MAP_UNITS.get(name, '')}: mean absolute error", fontsize=9)
        axis.tick_params(labelsize=8)


def _example_maps(figure: Any, panel: MapPanel) -> None:
    source, target = FIGURE_PAIR
    methods = [method for method in METHOD_DESCRIPTIONS if method in panel.maps]
    axes = figure.subplots(4, len(methods) + 1)
    centre = panel.neural.shape[2] // 2
    for number, name in enumerate(MAP_RANGES):
        map_axes, error_axes = axes[2 * number], axes[2 * number + 1]
        truth = panel.target.scalars()[name]
        limits, limit = MAP_RANGES[name], FULL_COLOUR_ERRORS[name]
        show_map(map_axes[0], truth[..., centre], "gray", limits, f"{name}, {target}")
        error_axes[0].axis("off")
        for column, method in enumerate(methods, start=1):
            values = panel.maps[method].scalars()[name]
            title = (
                f"{source}, {method}"
                if method == NO_HARMONIZATION
                else method.replace(", ", ",\n")
            )
            show_map(map_axes[column], values[..., centre], "gray", limits, title)
            error = np.where(panel.neural, values - truth, 0)[..., centre]
            show_map(error_axes[column], error, "RdBu_r", (-limit, limit), "")
    figure.suptitle(
        f"One subject: {source} harmonized to {target}; below each map its error, full colour at "
        f"{FULL_COLOUR_ERRORS['FA']} (FA) and {FULL_COLOUR_ERRORS['MD']}e-3 mm2/s (MD)",
        fontsize=9,
    )


def show_map(
    axis: Any, data: NDArray[np.float32], colours: str, limits: tuple[float, float], title: str
) -> None:
    """Draw a slice (X, Y) without axes."""
    axis.imshow(data.T, origin="lower", cmap=colours, vmin=limits[0], vmax=limits[1])
    axis.set_title(title, fontsize=7)
    axis.axis("off")
