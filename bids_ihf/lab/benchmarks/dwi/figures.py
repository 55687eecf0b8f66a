"""The figure of the diffusion benchmark: errors of all methods, and maps of one person."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.lab.benchmarks.dwi.benchmark import ALL, SHOWN
from bids_ihf.lab.benchmarks.dwi.methods import DESCRIPTIONS, NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.dwi.benchmark import DwiLook, DwiRow

SCALARS = ("FA", "MD", "NDI", "ODI")
UNITS = {"MD": " (1e-3 mm2/s)"}
RANGES = {"FA": (0.0, 0.8), "MD": (0.3, 1.6)}
ERRORS = {"FA": 0.08, "MD": 0.12}
"""Largest error in full colour."""


def draw(rows: Sequence[DwiRow], look: DwiLook) -> bytes:
    """PNG: above, mean absolute errors over all pairs by map; below, FA and MD of one person."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 10), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 2))
    _bars(parts[0], [row for row in rows if row.source == ALL])
    _pictures(parts[1], look)
    stream = io.BytesIO()
    # Without the version of matplotlib the same numbers give the same file.
    figure.savefig(stream, format="png", dpi=90, metadata={"Software": None})
    return stream.getvalue()


def _bars(figure: Any, rows: Sequence[DwiRow]) -> None:
    names = [name for name in SCALARS if any(row.map == name for row in rows)]
    panels = np.atleast_1d(figure.subplots(1, len(names)))
    for number, (panel, name) in enumerate(zip(panels, names, strict=True)):
        own = {row.method: row.mae for row in rows if row.map == name}
        methods = [method for method in DESCRIPTIONS if method in own]
        colours = ["#999" if method == NONE else "#37a" for method in methods]
        panel.barh(range(len(methods)), [own[m] for m in methods], color=colours)
        panel.set_yticks(range(len(methods)), methods if number == 0 else [""] * len(methods))
        panel.invert_yaxis()
        panel.axvline(own[NONE] / 2, color="#c33", linewidth=0.8, linestyle=":")
        panel.set_title(f"{name}{UNITS.get(name, '')}: mean absolute error", fontsize=9)
        panel.tick_params(labelsize=8)


def _pictures(figure: Any, look: DwiLook) -> None:
    methods = [method for method in DESCRIPTIONS if method in look.found]
    panels = figure.subplots(4, len(methods) + 1)
    middle = look.neural.shape[2] // 2
    for block, name in enumerate(("FA", "MD")):
        truth = look.target.named()[name]
        _show(
            panels[2 * block][0], truth[..., middle], "gray", RANGES[name], f"{name}, {SHOWN[1]}"
        )
        panels[2 * block + 1][0].axis("off")
        for column, method in enumerate(methods, start=1):
            values = look.found[method].named()[name]
            title = f"{SHOWN[0]}, {method}" if method == NONE else method.replace(", ", ",\n")
            _show(panels[2 * block][column], values[..., middle], "gray", RANGES[name], title)
            limit = ERRORS[name]
            error = np.where(look.neural, values - truth, 0)[..., middle]
            _show(panels[2 * block + 1][column], error, "RdBu_r", (-limit, limit), "")
    figure.suptitle(
        f"One person: {SHOWN[0]} harmonized to {SHOWN[1]}; below each map its error, full colour "
        f"at {ERRORS['FA']} (FA) and {ERRORS['MD']}e-3 mm2/s (MD)",
        fontsize=9,
    )


def _show(
    panel: Any, data: NDArray[np.float32], colours: str, limits: tuple[float, float], title: str
) -> None:
    panel.imshow(data.T, origin="lower", cmap=colours, vmin=limits[0], vmax=limits[1])
    panel.set_title(title, fontsize=7)
    panel.axis("off")
