"""Charts, drawn by matplotlib as SVG whose text remains text, and those of a single image."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from markupsafe import Markup
from numpy.typing import NDArray

from bids_ihf.qc.measures import TISSUE_NAMES
from bids_ihf.reports.qc_data import BEFORE_AFTER, DENSITY_BINS, MAX_DENSITY_INTENSITY
from bids_ihf.reports.templates import TEMPLATES_DIR, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS_PER_INCH = 72
"""Of matplotlib's SVG: a unit of the view box is a point."""
PAGE_FONT = "Helvetica, Arial, sans-serif"
PANEL_HEIGHT_PT, LEGEND_ROW_PT = 300, 20
STAGE_STYLES: dict[str, dict[str, Any]] = {
    "before": {"color": "#7f7f7f"},
    "after": {"color": "#d1495b"},
    "target": {"color": "#1f5fa8", "linestyle": (0, (6, 4))},
}
"""Colours and dashes, distinguishable without colour too."""
TISSUE_TITLES = {"grey": "grey matter", "white": "white matter", "csf": "CSF"}
INTENSITY_LABEL = "intensity / 99.9th percentile of the brain"
DENSITY_CENTRES = (np.arange(DENSITY_BINS) + 0.5) * MAX_DENSITY_INTENSITY / DENSITY_BINS
INTENSITY_BINS = 256
SMOOTHING_BINS = 4.0
"""Standard deviation of the smoothing kernel: integer intensities would look like a comb."""


@frozen(eq=False)
class Curve:
    """A labelled curve of a density chart, with matplotlib's options for a line."""

    label: str
    heights: NDArray[np.float64]
    style: Mapping[str, Any]
    is_filled: bool = False


def draw_svg(
    draw: Callable[[Figure], None], width: int, height: int, *, name: str = "chart", **texts: str
) -> Markup:
    """Return what `draw` draws on a figure as an SVG element that scales with its page.

    Width and height are in points; `name` begins all identifiers and is unique within a page;
    the texts are the title and description that screen readers read.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    stream = io.StringIO()
    styles = ("default", TEMPLATES_DIR / "charts.mplstyle", {"svg.hashsalt": name})
    with matplotlib.style.context(styles), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about glyphs that the font for measuring text lacks
        figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH))
        draw(figure)
        undated = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=undated)
    svg = stream.getvalue().partition("</defs>\n")[2]  # after the global style
    svg = re.sub(r'<g id="[\w.]+_\d+">', "<g>", svg).replace("'DejaVu Sans'", PAGE_FONT)
    # The address of a mark is what it shows when the pointer rests on it.
    address = re.compile(r'<a xlink:href="([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)
    content = Markup(address.sub(r"<g><title>\1</title>\2</g>", svg))  # noqa: S704 (escaped)
    size = {"width": width, "height": height, "font": PAGE_FONT}
    return Markup(render("chart.svg.j2", content=content, name=name, **size, **texts))  # noqa: S704


def add_panels(figure: Figure, count: int, margins_pt: tuple[float, float]) -> Sequence[Axes]:
    """Add axes beside each other, with margins to the left and at the bottom."""
    width, height = figure.get_size_inches() * POINTS_PER_INCH
    margins = {"left": margins_pt[0] / width, "bottom": margins_pt[1] / height}
    margins |= {"right": 1 - 16 / width, "top": 1 - 36 / height}
    return figure.subplots(1, count, squeeze=False, gridspec_kw={**margins, "wspace": 0.08})[0]


def add_legend(figure: Figure, columns: int = 1) -> None:
    """Add the legend of the first axes at the bottom."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower left", ncols=columns)


def density_chart(
    panels: Mapping[str, Sequence[Curve]],
    x: NDArray[np.float64],
    x_label: str,
    width: int,
    *,
    legend_columns: int = 1,
    has_common_height: bool = False,
    **texts: str,
) -> Markup:
    """Draw curves over a common axis, a panel for each title; heights have no unit."""
    labels = {curve.label for curves in panels.values() for curve in curves}
    legend_height = LEGEND_ROW_PT * -(-len(labels) // legend_columns) + 10
    peaks = [max(float(curve.heights.max()) for curve in curves) for curves in panels.values()]

    def draw(figure: Figure) -> None:
        axes_row = add_panels(figure, len(panels), (16, 46 + legend_height))
        for axes, (title, curves), peak in zip(axes_row, panels.items(), peaks, strict=True):
            highest = 1.04 * (max(peaks) if has_common_height else peak) or 1.0
            axes.set(title=title, xlabel=x_label, ylim=(0, highest), yticks=[])
            axes.spines["left"].set_visible(False)
            for curve in curves:
                axes.plot(x, curve.heights, label=curve.label, **curve.style)
                if curve.is_filled:
                    axes.fill_between(x, curve.heights, alpha=0.12, linewidth=0, **curve.style)
        add_legend(figure, legend_columns)

    return draw_svg(draw, width, PANEL_HEIGHT_PT + legend_height, **texts)


def tissue_chart(name: str, densities: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> Markup:
    """Draw the densities of each tissue before, after and of the target.

    Each sums to 1 over intensity, so that the volume of the tissue does not matter.
    """
    panels = {}
    for tissue in TISSUE_NAMES:
        rows = {stage: tissues[tissue] for stage, tissues in densities.items()}
        panels[TISSUE_TITLES[tissue]] = _stage_curves(
            {stage: row / max(float(row.sum()), 1e-9) for stage, row in rows.items()}
        )
    return density_chart(
        panels,
        DENSITY_CENTRES,
        INTENSITY_LABEL,
        width=1140,
        legend_columns=3,
        title=f"{name} intensity distributions by tissue",
        description=f"{', '.join(panels)}: {', '.join(densities)}; {INTENSITY_LABEL}.",
    )


def intensity_chart(
    name: str,
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
    mask: NDArray[np.bool_],
    has_same_units: bool,
) -> Markup:
    """Draw the intensity distributions in the brain of the images before and after.

    If units differ, each image is divided by its 99.5th percentile.
    """
    from scipy.ndimage import gaussian_filter1d

    values = [data[mask] if mask.any() else data.ravel() for data in images]
    label = "intensity"
    if not has_same_units:
        values = [data / (float(np.percentile(data, 99.5)) or 1.0) for data in values]
        label = "intensity / 99.5th percentile of the brain (units differ)"
    low = min(float(np.percentile(data, 0.1)) for data in values)
    high = max(float(np.percentile(data, 99.9)) for data in values)
    high = high if high > low else low + 1.0
    counts = [np.histogram(data, INTENSITY_BINS, (low, high))[0] for data in values]
    curves = [gaussian_filter1d(row / max(1, row.sum()), SMOOTHING_BINS) for row in counts]
    return density_chart(
        {name: _stage_curves(dict(zip(BEFORE_AFTER, curves, strict=True)))},
        low + (np.arange(INTENSITY_BINS) + 0.5) * (high - low) / INTENSITY_BINS,
        label,
        width=900,
        legend_columns=2,
        title=f"{name} intensity distributions in the brain before and after harmonization",
        description=f"Density of voxels by {label}, from {low:.4g} to {high:.4g}.",
    )


def _stage_curves(curves: Mapping[str, NDArray[np.float64]]) -> list[Curve]:
    return [
        Curve(stage, heights, STAGE_STYLES[stage], is_filled=stage != "target")
        for stage, heights in curves.items()
    ]
