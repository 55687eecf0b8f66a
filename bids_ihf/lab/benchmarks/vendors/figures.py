"""Figures of the vendor benchmark, as PNG: metrics, intensity densities, example slices."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from bids_ihf.lab.benchmarks.vendors.cases import OFF_RANGE_GROUP, SAME_SCANNER
from bids_ihf.lab.benchmarks.vendors.example_slices import (
    AS_SCANNED,
    FIGURE_TARGET,
    LOG_INTENSITY_EDGES,
    RANGE_SCALED,
    SCALED_INTENSITY_EDGES,
    TRUE_SCAN,
)
from bids_ihf.lab.benchmarks.vendors.methods import (
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
    NO_HARMONIZATION,
    REPEAT_SCAN,
    TRUE_SCAN_MATCHING,
)
from bids_ihf.lab.benchmarks.vendors.tables import ALL_VENDORS
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.vendors.example_slices import CasePanel

FIGURE_DPI = 100
MAX_FIGURE_BYTES = 300 * 1024
"""Size of a figure of example slices."""

PALETTE_SIZES = (96, 64, 32, 16)
"""Numbers of colours that a figure of example slices is reduced to, until it is small enough."""

SOURCE_COLOURS = {
    SAME_SCANNER: "#222222",
    "Siemens": "#3a7d44",
    "GE": "#d1495b",
    "Philips": "#2e77ae",
    OFF_RANGE_GROUP: "#c9a227",
}
BASELINE_COLOUR, IHF_COLOUR, BOUND_COLOUR = "#9aa5b1", "#d1495b", "#d9dde2"
METRIC_LABELS = {"rmse": "RMSE", "psnr": "PSNR (dB)", "ms_ssim": "MS-SSIM"}
DENSITY_PANELS = (AS_SCANNED, RANGE_SCALED, HISTOGRAM_MATCHING, IHF_HARMONY)
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


def draw_figures(table: Sequence[Row], panels: Sequence[CasePanel]) -> dict[str, bytes]:
    """All figures, PNG by file name, from the aggregated table and the panels of the cases."""
    figures = {"fig-bars.png": metric_bars(table)}
    for modality in dict.fromkeys(panel.modality for panel in panels):
        selected = [panel for panel in panels if panel.modality == modality]
        figures[f"fig-densities-{modality}.png"] = intensity_densities(selected, modality)
        first_subject = [panel for panel in selected if panel.subject == selected[0].subject]
        figures[f"fig-images-{modality}.png"] = example_images(first_subject, modality)
    return figures


def metric_bars(table: Sequence[Row]) -> bytes:
    """RMSE, PSNR and MS-SSIM over all vendor pairs by method; a row for each modality."""
    rows = [row for row in table if row["source"] == ALL_VENDORS]
    modalities = list(dict.fromkeys(row["modality"] for row in rows))
    figure = _figure(10, 0.8 + 2.9 * len(modalities))
    axes = figure.subplots(len(modalities), len(METRIC_LABELS), squeeze=False, sharey="row")
    for line, modality in zip(axes, modalities, strict=True):
        selected = [row for row in rows if row["modality"] == modality][::-1]
        for axis, metric in zip(line, METRIC_LABELS, strict=True):
            _bar_panel(axis, selected, metric)
        line[0].set_yticks(range(len(selected)), [row["method"] for row in selected])
        line[1].set_title(f"{modality}, all vendor pairs", fontsize=11)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=9)
    figure.tight_layout(rect=(0, 0.08 if len(modalities) == 1 else 0.05, 1, 1))
    return _png(figure)


def _bar_panel(axis: Axes, rows: Sequence[Row], metric: str) -> None:
    positions = np.arange(len(rows))
    values = np.array([row[metric] for row in rows])
    low, high = (np.array([row[f"{metric}_{bound}"] for row in rows]) for bound in ("low", "high"))
    axis.barh(
        positions, values, color=[_colour(row["method"]) for row in rows],
        xerr=[values - low, high - values], ecolor="#444", capsize=2,
        label="in the true scan's range, with 95 % interval",
    )  # fmt: skip
    axis.plot(
        [row[f"{metric}_own"] for row in rows], positions, "D", color="black", markersize=4,
        label="each image in its own range",
    )  # fmt: skip
    if metric == "ms_ssim":
        axis.set_xlim(min(0.9, 0.95 * float(np.sort(values)[1])), 1.0)
    axis.set_xlabel(METRIC_LABELS[metric], fontsize=10)
    axis.tick_params(labelsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def _colour(method: str) -> str:
    if method == IHF_HARMONY:
        return IHF_COLOUR
    return BOUND_COLOUR if method in (TRUE_SCAN_MATCHING, REPEAT_SCAN) else BASELINE_COLOUR


def intensity_densities(panels: Sequence[CasePanel], modality: str) -> bytes:
    """Densities of the brain's intensities by scanner, before and after, over all subjects."""
    figure = _figure(10, 5.6)
    for axis, histogram in zip(figure.subplots(2, 2).flat, DENSITY_PANELS, strict=True):
        harmonized = histogram in (HISTOGRAM_MATCHING, IHF_HARMONY)
        for source in (SAME_SCANNER, *BUILTIN_VENDORS, OFF_RANGE_GROUP):
            is_target = source == SAME_SCANNER
            # The target's own scans are the reference and stay as they are.
            shown = RANGE_SCALED if is_target and histogram != AS_SCANNED else histogram
            curve = _density(panels, source, shown)
            if curve is not None:
                axis.plot(
                    *curve, "--" if is_target and harmonized else "-", linewidth=1.6,
                    color=SOURCE_COLOURS[source],
                    label=f"{FIGURE_TARGET}, the target" if is_target else source,
                )  # fmt: skip
        axis.set_title(f"after {histogram}" if harmonized else histogram, fontsize=10)
        axis.set_xlabel(
            "intensity (log10)" if histogram == AS_SCANNED else "intensity / range of percentiles",
            fontsize=9,
        )
        axis.set_yticks([])
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right", "left"]].set_visible(False)
    figure.axes[0].legend(fontsize=8, frameon=False)
    count = len({panel.subject for panel in panels})
    noun = "subject" if count == 1 else "subjects"
    figure.suptitle(f"{modality} brain intensities of {count} {noun}", fontsize=11)
    figure.tight_layout()
    return _png(figure)


def _density(
    panels: Sequence[CasePanel], source: str, histogram: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Mean density over the scans of a source, smoothed by 1.5 bins."""
    counts = [panel.counts[histogram] for panel in panels if panel.source == source]
    if not counts:
        return None
    edges = LOG_INTENSITY_EDGES if histogram == AS_SCANNED else SCALED_INTENSITY_EDGES
    fractions = [count / max(1, count.sum()) for count in counts]
    mean = np.mean(fractions, axis=0) / (edges[1] - edges[0])
    return (edges[1:] + edges[:-1]) / 2, gaussian_filter1d(mean, 1.5)


def example_images(panels: Sequence[CasePanel], modality: str) -> bytes:
    """One slice of one subject by every source: scan, results, truth and errors."""
    rows = [panel for panel in panels if panel.source != SAME_SCANNER]
    figure = _figure(9.4, 1.65 * len(rows) + 0.3, "black")
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
        line[0].text(
            0.02, 0.01, panel.scanner, color="white", fontsize=7, transform=line[0].transAxes
        )
    titles = (*IMAGE_TITLES.values(), *ERROR_TITLES.values())
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, color="white", fontsize=8, pad=3)
    for axis in axes.flat:
        axis.axis("off")
    limit = f"{FULL_COLOUR_ERROR:g}"
    figure.text(
        0.5, 0.008, f"{modality} to {FIGURE_TARGET}; errors from blue (-{limit}) to red "
        f"(+{limit}) of the true scan's range; the source in its own range",
        color="white", fontsize=7, ha="center",
    )  # fmt: skip
    bottom = 0.22 / figure.get_size_inches()[1]
    figure.subplots_adjust(left=0.002, right=0.998, top=1 - 1.1 * bottom, bottom=bottom)
    return _with_palette(_png(figure))


def _figure(width: float, height: float, background: str = "white") -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=background)
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    # Without the version of matplotlib, the file changes only with what it shows.
    figure.savefig(stream, format="png", dpi=FIGURE_DPI, metadata={"Software": None})
    return stream.getvalue()


def _with_palette(png: bytes) -> bytes:
    """The figure with the largest palette that keeps it below MAX_FIGURE_BYTES."""
    with Image.open(io.BytesIO(png)) as image:
        colours = image.convert("RGB")
    for size in PALETTE_SIZES:
        stream = io.BytesIO()
        quantized = colours.quantize(size, dither=Image.Dither.NONE)
        quantized.save(stream, format="png", optimize=True)
        if stream.tell() <= MAX_FIGURE_BYTES:
            break
    return stream.getvalue()
