"""Figures of the vendor benchmark, as PNG: metrics, intensity densities, example slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from bids_ihf.lab.benchmarks.vendors.cases import OFF_RANGE_GROUP, SAME_SCANNER
from bids_ihf.lab.benchmarks.vendors.drawing import new_figure, png_of
from bids_ihf.lab.benchmarks.vendors.example_slices import (
    AS_SCANNED,
    FIGURE_TARGET,
    LOG_INTENSITY_EDGES,
    RANGE_SCALED,
    SCALED_INTENSITY_EDGES,
)
from bids_ihf.lab.benchmarks.vendors.image_figures import (
    comparator_images,
    comparators_shown,
    example_images,
)
from bids_ihf.lab.benchmarks.vendors.methods import (
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
    REPEAT_SCAN,
    TRUE_SCAN_MATCHING,
)
from bids_ihf.lab.benchmarks.vendors.tables import ALL_VENDORS
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.vendors.example_slices import CasePanel

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


def draw_figures(table: Sequence[Row], panels: Sequence[CasePanel]) -> dict[str, bytes]:
    """All figures, PNG by file name, from the aggregated table and the panels of the cases."""
    figures = {"fig-bars.png": metric_bars(table)}
    for modality in dict.fromkeys(panel.modality for panel in panels):
        selected = [panel for panel in panels if panel.modality == modality]
        figures[f"fig-densities-{modality}.png"] = intensity_densities(selected, modality)
        first_subject = [panel for panel in selected if panel.subject == selected[0].subject]
        figures[f"fig-images-{modality}.png"] = example_images(first_subject, modality)
        comparators = comparators_shown(first_subject)
        if comparators:
            figures[f"fig-comparators-{modality}.png"] = comparator_images(
                first_subject, comparators, modality
            )
    return figures


def metric_bars(table: Sequence[Row]) -> bytes:
    """RMSE, PSNR and MS-SSIM over all vendor pairs by method; a row for each modality."""
    rows = [row for row in table if row["source"] == ALL_VENDORS]
    modalities = list(dict.fromkeys(row["modality"] for row in rows))
    figure = new_figure(10, 0.8 + 2.9 * len(modalities))
    axes = figure.subplots(len(modalities), len(METRIC_LABELS), squeeze=False, sharey="row")
    for line, modality in zip(axes, modalities, strict=True):
        selected = [row for row in rows if row["modality"] == modality][::-1]
        for axis, metric in zip(line, METRIC_LABELS, strict=True):
            _bar_panel(axis, selected, metric)
        line[0].set_yticks(range(len(selected)), [row["method"] for row in selected])
        line[1].set_title(f"{modality}, all vendor pairs", fontsize=11)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=9)
    figure.tight_layout(rect=(0, 0.08 if len(modalities) == 1 else 0.05, 1, 1))
    return png_of(figure)


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
    figure = new_figure(10, 5.6)
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
    return png_of(figure)


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
