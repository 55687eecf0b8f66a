"""Charts of one image, and how all charts become SVG: drawn by matplotlib, text kept as text."""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from bids_ihf.qc.measures import TISSUE_NAMES
from bids_ihf.reports.qc_data import DENSITY_BINS, MAX_DENSITY_INTENSITY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Densities = Mapping[str, Mapping[str, NDArray[np.float64]]]

POINTS_PER_INCH = 72
"""Of matplotlib's SVG, so that a unit of the view box is a point of text."""
CHART_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.xmargin": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "lines.linewidth": 2.0,
    "lines.scale_dashes": False,
    "lines.solid_joinstyle": "round",
    "svg.fonttype": "none",
    "text.parse_math": False,
}
PAGE_FONT = "Helvetica, Arial, sans-serif"
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


def draw_svg(
    draw: Callable[[Figure], None],
    width: float,
    height: float,
    *,
    title: str,
    description: str,
    name: str = "chart",
) -> Markup:
    """Return a chart as an SVG element that scales with its page.

    Parameters
    ----------
    draw
        Draws on the empty figure it is given.
    width, height
        Size of the view box in points.
    title, description
        Read out by screen readers.
    name
        Prefix of all identifiers, unique within a page.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    stream = io.StringIO()
    style = {**CHART_STYLE, "svg.hashsalt": name}
    with matplotlib.style.context(["default", style]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about glyphs that the font for measuring text lacks
        figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH))
        draw(figure)
        undated = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=undated)
    content = stream.getvalue().partition("</defs>\n")[2]  # after the global style
    content = re.sub(r'<g id="[\w.]+_\d+">', "<g>", content)
    content = content.replace("font-family: 'DejaVu Sans'; ", "").replace(
        "'DejaVu Sans'", PAGE_FONT
    )
    # The address of a mark is what it shows when the pointer rests on it.
    content = re.sub(
        r'<a xlink:href="([^"]*)"[^>]*>(.*?)</a>',
        r"<g><title>\1</title>\2</g>",
        content,
        flags=re.DOTALL,
    )
    return Markup(  # noqa: S704 (texts are escaped)
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'role="img" aria-labelledby="{name}-title {name}-description" '
        f'viewBox="0 0 {width:g} {height:g}" style="max-width: {width:g}px" '
        f'font-family="{PAGE_FONT}" stroke-linejoin="round">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n'
        f'<desc id="{name}-description">{escape(description)}</desc>\n{content}'
    )


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes at a place given in points from the figure's lower left corner."""
    full_width, full_height = figure.get_size_inches() * POINTS_PER_INCH
    return figure.add_axes(
        (left / full_width, bottom / full_height, width / full_width, height / full_height)
    )


def add_density_axes(
    figure: Figure, left: float, bottom: float, width: float, height: float
) -> Axes:
    """Add axes for curves whose height has no unit."""
    axes = add_axes(figure, left, bottom, width, height)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.set_ylim(0, 1.04)
    return axes


def tissue_density_chart(name: str, densities: Densities) -> bytes:
    """Draw a panel for each tissue with a curve for each stage: before, after, target."""
    panel = 380

    def draw(figure: Figure) -> None:
        for column, tissue in enumerate(TISSUE_NAMES):
            axes = add_density_axes(figure, panel * column + 14, 46, panel - 28, 186)
            axes.set_title(TISSUE_TITLES[tissue])
            axes.set_xlabel(INTENSITY_LABEL)
            axes.set_xlim(0, MAX_DENSITY_INTENSITY)
            # Each sums to 1, so that tissue volume does not matter.
            curves = {
                stage: rows[tissue] / max(float(rows[tissue].sum()), 1e-9)
                for stage, rows in densities.items()
            }
            _draw_stages(axes, DENSITY_CENTRES, curves)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", ncols=3, borderpad=0)
        figure.text(0.99, 0.95, name, horizontalalignment="right")

    svg = draw_svg(
        draw,
        panel * len(TISSUE_NAMES),
        290,
        title=f"{name} intensity distributions by tissue",
        description=f"Grey matter, white matter and CSF: {', '.join(densities)}; "
        "intensities relative to the 99.9th percentile of the brain.",
    )
    return svg.encode("ascii", "xmlcharrefreplace")


def intensity_chart(
    name: str,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    mask: NDArray[np.bool_],
    *,
    same_units: bool,
) -> bytes:
    """Draw the intensity distributions in the brain, before and after.

    Without `same_units` each image is divided by its 99.5th percentile.
    """
    values = [data[mask] if mask.any() else data.ravel() for data in (before, after)]
    label = "intensity"
    if not same_units:
        values = [data / (float(np.percentile(data, 99.5)) or 1.0) for data in values]
        label = "intensity / 99.5th percentile of the brain (units differ)"
    low = min(float(np.percentile(data, 0.1)) for data in values)
    high = max(float(np.percentile(data, 99.9)) for data in values)
    high = high if high > low else low + 1.0
    centres = low + (np.arange(INTENSITY_BINS) + 0.5) * (high - low) / INTENSITY_BINS
    curves = {
        stage: smooth_density(data, low, high)
        for stage, data in zip(("before", "after"), values, strict=True)
    }

    def draw(figure: Figure) -> None:
        axes = add_density_axes(figure, 20, 46, 860, 210)
        axes.set_xlabel(label)
        axes.set_xlim(low, high)
        _draw_stages(axes, centres, curves)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", ncols=2, borderpad=0)
        figure.text(0.98, 0.94, name, horizontalalignment="right")

    svg = draw_svg(
        draw,
        900,
        300,
        title=f"{name} intensity distributions in the brain before and after harmonization",
        description=f"Density of voxels by {label}, from {low:.4g} to {high:.4g}.",
    )
    return svg.encode("ascii", "xmlcharrefreplace")


def smooth_density(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    """Return the smoothed density over `INTENSITY_BINS` equal bins."""
    from scipy.ndimage import gaussian_filter1d

    counts, _ = np.histogram(values, bins=INTENSITY_BINS, range=(low, high))
    density = counts / max(1, counts.sum()) * INTENSITY_BINS / (high - low)
    return np.asarray(gaussian_filter1d(density, SMOOTHING_BINS), dtype=np.float64)


def _draw_stages(
    axes: Axes, x: NDArray[np.float64], curves: Mapping[str, NDArray[np.float64]]
) -> None:
    peak = max((float(curve.max()) for curve in curves.values()), default=0.0) or 1.0
    for stage, curve in curves.items():
        axes.plot(x, curve / peak, label=stage, **STAGE_STYLES[stage])
        if stage != "target":
            axes.fill_between(
                x, curve / peak, color=STAGE_STYLES[stage]["color"], alpha=0.12, linewidth=0
            )
