"""Densities of what was measured, real and simulated."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from bids_ihf.lab.benchmarks.tables import Row

FIGURE_MEASURES = {
    "noise": "noise / white",
    "edge_grey_white_mm": "grey-white edge, mm",
    "edge_ventricle_mm": "ventricle edge, mm",
    "grey_to_white": "grey / white",
    "csf_to_white": "CSF / white",
    "bias_before": "bias before N4",
    "bias_after": "bias after N4",
    "skewness": "skewness",
    "texture_white_4mm": "white texture, 4 mm",
    "texture_white_16mm": "white texture, 16 mm",
}
LOGARITHMIC = ("noise", "bias_before", "bias_after", "texture_white_4mm", "texture_white_16mm")
LEAST_LOGARITHM = 1e-4
TICK_VALUES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)

REAL_COLOUR, SIMULATED_COLOUR = "#d1495b", "#9aa5b1"
MIN_DENSITY_VALUES = 8
"""Values from which a density is drawn; fewer are ticks only."""

FIGURE_DPI = 80


def draw_densities(rows: Sequence[Row], contrast: str) -> bytes:
    """A PNG with a row for each voxel class and a column for each measure."""
    rows = [row for row in rows if row["contrast"] == contrast]
    classes = [
        voxels
        for voxels in ("1 mm", "2 mm", "thick", "slice")
        if any(row["voxels"] == voxels and row["source"] == "real" for row in rows)
    ]
    figure = Figure(figsize=(1.75 * len(FIGURE_MEASURES), 0.6 + 1.5 * len(classes)))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(classes), len(FIGURE_MEASURES), squeeze=False)
    for line, voxels in zip(axes, classes, strict=True):
        for panel, (name, label) in zip(line, FIGURE_MEASURES.items(), strict=True):
            _panel(panel, [row for row in rows if row["voxels"] == voxels], name)
            if voxels == classes[0]:
                panel.set_title(label, fontsize=8)
        line[0].set_ylabel(f"{contrast}, {voxels}", fontsize=8)
    handles, labels = axes[0, 3].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", fontsize=8, ncols=2, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=FIGURE_DPI, format="png")
    return buffer.getvalue()


def _panel(panel: Axes, rows: Sequence[Row], name: str) -> None:
    logarithmic = name in LOGARITHMIC
    series = {
        source: np.array([
            np.log10(max(row[name], LEAST_LOGARITHM)) if logarithmic else row[name]
            for row in rows
            if row["source"] == source and np.isfinite(row[name])
        ])
        for source in ("simulated", "real")
    }  # fmt: skip
    panel.set_yticks([])
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right", "left"]].set_visible(False)
    everything = np.concatenate(list(series.values()))
    if not everything.size:
        panel.set_xticks([])
        panel.spines["bottom"].set_visible(False)
        return
    low, high = np.percentile(everything, (0.5, 99.5))
    margin = 0.1 * (high - low) + 1e-6
    grid = np.linspace(low - margin, high + margin, 200)
    for source, colour in (("simulated", SIMULATED_COLOUR), ("real", REAL_COLOUR)):
        values = series[source]
        if len(values) >= MIN_DENSITY_VALUES and np.ptp(values) > 0:
            panel.fill_between(grid, gaussian_kde(values)(grid), color=colour, alpha=0.6,
                               label=source)  # fmt: skip
    top = panel.get_ylim()[1]
    panel.plot(series["real"], np.full(len(series["real"]), -0.04 * top), "|", color=REAL_COLOUR,
               markersize=4)  # fmt: skip
    panel.set_xlim(grid[0], grid[-1])
    if logarithmic:
        ticks = [tick for tick in np.log10(TICK_VALUES) if grid[0] <= tick <= grid[-1]]
        panel.set_xticks(ticks, [f"{10**tick:.3g}" for tick in ticks])
