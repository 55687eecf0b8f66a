"""Pictures of a benchmark, as PNG: bars of the measures, intensity densities, images."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.lab.benchmarks.vendors.cases import OFF
from bids_ihf.lab.benchmarks.vendors.example_slices import (
    EDGES,
    OWN_RANGE,
    SHOWN,
    TRUTH,
    UNIT_EDGES,
    UNITS,
)
from bids_ihf.lab.benchmarks.vendors.methods import BOUND, MATCHED, NONE, REPEAT, SHIPPED
from bids_ihf.lab.benchmarks.vendors.tables import ALL
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.table import Row
    from bids_ihf.lab.benchmarks.vendors.example_slices import Look

DPI = 100
LARGEST = 300 * 1024
"""Bytes of a picture at most."""
GREYS = (96, 64, 32, 16)
"""Colours of the pictures with scans in them; fewer where they would be too large."""

COLOURS = {"Siemens": "#222222", "GE": "#d1495b", "Philips": "#2e77ae", OFF: "#c9a227"}
PLAIN, OURS, LIMIT = "#9aa5b1", "#d1495b", "#d9dde2"
MEASURES = {"rmse": "RMSE", "psnr": "PSNR (dB)", "ms_ssim": "MS-SSIM"}
PANELS = (UNITS, OWN_RANGE, MATCHED, SHIPPED)
ERROR = 0.25
"""Error (share of the truth's range) in full colour."""


def draw_figures(table: Sequence[Row], looks: Sequence[Look]) -> dict[str, bytes]:
    """All figures, PNG by file name, from the aggregated table and what was kept of the cases."""
    figures = {"fig-bars.png": bars(table)}
    for modality in dict.fromkeys(look.modality for look in looks):
        own = [look for look in looks if look.modality == modality]
        figures[f"fig-densities-{modality}.png"] = densities(own, modality)
        first = [look for look in own if look.person == own[0].person]
        figures[f"fig-images-{modality}.png"] = images(first, modality)
    return figures


def bars(table: Sequence[Row]) -> bytes:
    """RMSE, PSNR and MS-SSIM over all vendor pairs by method; a row for each modality."""
    rows = [row for row in table if row["source"] == ALL]
    modalities = list(dict.fromkeys(row["modality"] for row in rows))
    figure = _figure(10, 0.8 + 2.9 * len(modalities))
    axes = figure.subplots(len(modalities), len(MEASURES), squeeze=False, sharey="row")
    for line, modality in zip(axes, modalities, strict=True):
        own = [row for row in rows if row["modality"] == modality][::-1]
        for axis, measure in zip(line, MEASURES, strict=True):
            _bar_panel(axis, own, measure)
        line[0].set_yticks(range(len(own)), [row["method"] for row in own])
        line[1].set_title(f"{modality}, all vendor pairs", fontsize=11)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=9)
    figure.tight_layout(rect=(0, 0.08 if len(modalities) == 1 else 0.05, 1, 1))
    return _png(figure)


def _bar_panel(axis: Axes, rows: Sequence[Row], measure: str) -> None:
    places = np.arange(len(rows))
    values = np.array([row[measure] for row in rows])
    ends = [np.array([row[f"{measure}_{end}"] for row in rows]) for end in ("low", "high")]
    reach = [values - ends[0], ends[1] - values]
    colours = [_colour(row["method"]) for row in rows]
    axis.barh(
        places, values, color=colours, xerr=reach, ecolor="#444", capsize=2,
        label="in the true scan's range, with 95 % interval",
    )  # fmt: skip
    own = [row[f"{measure}_own"] for row in rows]
    axis.plot(own, places, "D", color="black", markersize=4, label="each image in its own range")
    if measure == "ms_ssim":
        axis.set_xlim(min(0.9, 0.95 * float(np.sort(values)[1])), 1.0)
    axis.set_xlabel(MEASURES[measure], fontsize=10)
    axis.tick_params(labelsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def _colour(method: str) -> str:
    if method == SHIPPED:
        return OURS
    return LIMIT if method in (BOUND, REPEAT) else PLAIN


def densities(looks: Sequence[Look], modality: str) -> bytes:
    """Densities of the brain's intensities by scanner, before and after, over all people."""
    figure = _figure(10, 5.6)
    people = len({look.person for look in looks})
    for axis, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for source in (*BUILTIN_VENDORS, OFF):
            known = panel == UNITS or source != SHOWN
            curve = _density(looks, source, panel if known else OWN_RANGE)
            if curve is not None:
                style = "--" if source == SHOWN and panel in (MATCHED, SHIPPED) else "-"
                name = f"{source}, the target" if source == SHOWN else source
                axis.plot(*curve, style, color=COLOURS[source], label=name, linewidth=1.6)
        units = panel == UNITS
        axis.set_title(panel if panel in (UNITS, OWN_RANGE) else f"after {panel}", fontsize=10)
        axis.set_xlabel(
            "intensity (log10)" if units else "intensity / range of percentiles", fontsize=9
        )
        axis.set_yticks([])
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right", "left"]].set_visible(False)
    figure.axes[0].legend(fontsize=8, frameon=False)
    noun = "person" if people == 1 else "people"
    figure.suptitle(f"{modality} brain intensities of {people} {noun}", fontsize=11)
    figure.tight_layout()
    return _png(figure)


def _density(
    looks: Sequence[Look], source: str, panel: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Mean density over the scans of a source, smoothed by a bin or two."""
    from scipy.ndimage import gaussian_filter1d

    counts = [look.counts[panel] for look in looks if look.source == source]
    if not counts:
        return None
    edges = UNIT_EDGES if panel == UNITS else EDGES
    shares = [count / max(1, count.sum()) for count in counts]
    mean = np.mean(shares, axis=0) / (edges[1] - edges[0])
    return (edges[1:] + edges[:-1]) / 2, gaussian_filter1d(mean, 1.5)


def images(looks: Sequence[Look], modality: str) -> bytes:
    """One slice of one person by every source: scan, results, truth and errors."""
    rows = [look for look in looks if look.source != SHOWN]
    shown = ((NONE, "source"), (MATCHED, MATCHED), (SHIPPED, SHIPPED), (TRUTH, TRUTH))
    wrong = ((NONE, "error, source"), (MATCHED, "error, matching"), (SHIPPED, "error, IHF"))
    figure = _figure(9.4, 1.65 * len(rows) + 0.3, "black")
    axes = figure.subplots(
        len(rows), len(shown) + len(wrong), squeeze=False,
        gridspec_kw={"wspace": 0.02, "hspace": 0.02},
    )  # fmt: skip
    for line, look in zip(axes, rows, strict=True):
        truth = look.pictures[TRUTH]
        for axis, (name, _) in zip(line, shown, strict=False):
            axis.imshow(look.pictures[name].T, origin="lower", cmap="gray", vmin=0, vmax=1)
        for axis, (name, _) in zip(line[len(shown) :], wrong, strict=True):
            error = np.where(look.brain, look.pictures[name] - truth, np.nan)
            axis.imshow(error.T, origin="lower", cmap="RdBu_r", vmin=-ERROR, vmax=ERROR)
        line[0].text(
            0.02, 0.01, look.scanner, color="white", fontsize=7, transform=line[0].transAxes
        )
    for axis, (_, title) in zip(axes[0], (*shown, *wrong), strict=True):
        axis.set_title(title, color="white", fontsize=8, pad=3)
    for axis in axes.flat:
        axis.axis("off")
    figure.text(
        0.5, 0.008, f"{modality} to {SHOWN}; errors from blue (-{ERROR:g}) to red (+{ERROR:g}) of "
        "the true scan's range; the source in its own range",
        color="white", fontsize=7, ha="center",
    )  # fmt: skip
    bottom = 0.22 / figure.get_size_inches()[1]
    figure.subplots_adjust(left=0.002, right=0.998, top=1 - 1.1 * bottom, bottom=bottom)
    return _small(_png(figure))


def _figure(width: float, height: float, background: str = "white") -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=background)
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    # No software version in the file, so that it changes only with what it shows.
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _small(png: bytes) -> bytes:
    """The picture with as few colours as it takes to be small."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        plain = picture.convert("RGB")
    for colours in GREYS:
        stream = io.BytesIO()
        few = plain.quantize(colours, dither=Image.Dither.NONE)
        few.save(stream, format="png", optimize=True)
        if stream.tell() <= LARGEST:
            break
    return stream.getvalue()
