"""Example slices of the vendor benchmark, as PNG: what methods make of a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.lab.benchmarks.vendors.cases import SAME_SCANNER
from bids_ihf.lab.benchmarks.vendors.drawing import new_figure, png_of, with_palette
from bids_ihf.lab.benchmarks.vendors.example_slices import FIGURE_TARGET, TRUE_SCAN
from bids_ihf.lab.benchmarks.vendors.methods import (
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
    NO_HARMONIZATION,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.vendors.example_slices import CasePanel

IMAGE_TITLES = {
    NO_HARMONIZATION: "source",
    HISTOGRAM_MATCHING: HISTOGRAM_MATCHING,
    IHF_HARMONY: IHF_HARMONY,
    TRUE_SCAN: TRUE_SCAN,
}
ERROR_TITLES = {
    NO_HARMONIZATION: "error, source",
    HISTOGRAM_MATCHING: "error, matching",
    IHF_HARMONY: "error, IHF",
}
FULL_COLOUR_ERROR = 0.25
"""Error drawn in full colour, as a fraction of the true scan's range."""


def example_images(panels: Sequence[CasePanel], modality: str) -> bytes:
    """One slice of one subject by every source: scan, results, truth and errors."""
    rows = [panel for panel in panels if panel.source != SAME_SCANNER]
    figure = new_figure(9.4, 1.65 * len(rows) + 0.3, "black")
    axes = figure.subplots(
        len(rows), len(IMAGE_TITLES) + len(ERROR_TITLES), squeeze=False,
        gridspec_kw={"wspace": 0.02, "hspace": 0.02},
    )  # fmt: skip
    for line, panel in zip(axes, rows, strict=True):
        for axis, name in zip(line, IMAGE_TITLES, strict=False):
            axis.imshow(panel.images[name].T, origin="lower", cmap="gray", vmin=0, vmax=1)
        for axis, name in zip(line[len(IMAGE_TITLES) :], ERROR_TITLES, strict=True):
            error = np.where(panel.brain, panel.images[name] - panel.images[TRUE_SCAN], np.nan)
            axis.imshow(
                error.T, origin="lower", cmap="RdBu_r",
                vmin=-FULL_COLOUR_ERROR, vmax=FULL_COLOUR_ERROR,
            )  # fmt: skip
        _name_scanner(line[0], panel)
    _head_columns(axes, (*IMAGE_TITLES.values(), *ERROR_TITLES.values()))
    limit = f"{FULL_COLOUR_ERROR:g}"
    _caption(
        figure,
        f"{modality} to {FIGURE_TARGET}; errors from blue (-{limit}) to red "
        f"(+{limit}) of the true scan's range; the source in its own range",
    )
    return with_palette(png_of(figure))


def comparators_shown(panels: Sequence[CasePanel]) -> list[str]:
    """Comparators with an image in a panel, in the order they were named."""
    shown = dict.fromkeys(name for panel in panels for name in panel.images)
    return [name for name in shown if name not in IMAGE_TITLES]


def comparator_images(
    panels: Sequence[CasePanel], comparators: Sequence[str], modality: str
) -> bytes:
    """One slice of one subject by every source: scan, every method's result, and truth."""
    titles = {
        NO_HARMONIZATION: "source",
        HISTOGRAM_MATCHING: "histogram matching",
        **{name: name for name in comparators},
        IHF_HARMONY: IHF_HARMONY,
        TRUE_SCAN: TRUE_SCAN,
    }
    rows = [panel for panel in panels if panel.source != SAME_SCANNER]
    figure = new_figure(1.34 * len(titles), 1.65 * len(rows) + 0.3, "black")
    axes = figure.subplots(
        len(rows), len(titles), squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02}
    )
    for line, panel in zip(axes, rows, strict=True):
        for axis, name in zip(line, titles, strict=True):
            if name in panel.images:  # some have no result for a scanner that is no site
                axis.imshow(panel.images[name].T, origin="lower", cmap="gray", vmin=0, vmax=1)
        _name_scanner(line[0], panel)
    _head_columns(axes, titles.values())
    _caption(figure, f"{modality} to {FIGURE_TARGET}; the source in its own range")
    return with_palette(png_of(figure))


def _name_scanner(axis: Axes, panel: CasePanel) -> None:
    axis.text(0.02, 0.01, panel.scanner, color="white", fontsize=7, transform=axis.transAxes)


def _head_columns(axes: NDArray[Any], titles: Iterable[str]) -> None:
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, color="white", fontsize=8, pad=3)
    for axis in axes.flat:
        axis.axis("off")


def _caption(figure: Figure, text: str) -> None:
    """A line below the images, which fill the rest of the figure."""
    figure.text(0.5, 0.008, text, color="white", fontsize=7, ha="center")
    bottom = 0.22 / figure.get_size_inches()[1]
    figure.subplots_adjust(left=0.002, right=0.998, top=1 - 1.1 * bottom, bottom=bottom)
