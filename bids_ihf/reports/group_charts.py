"""Charts of the group page: distance to the target, intensity distributions, embedding space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.reports import charts
from bids_ihf.reports.charts import Curve, density_chart, draw_svg
from bids_ihf.reports.group_statistics import GroupImage, principal_components, stack_embeddings
from bids_ihf.reports.qc_data import BEFORE_AFTER, QCData, mean_density

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GROUP_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#6a3d9a", "#444444",
)  # fmt: skip
"""Of Okabe and Ito (2008), the yellow darkened for a white page, and two more."""
GROUP_MARKERS = ("o", "s", "D", "^")
GROUP_DASHES: tuple[Any, ...] = ("solid", (0, (8, 3)), (0, (3, 3)), (0, (8, 3, 2, 3)))
TARGET_STYLE: dict[str, Any] = {"color": "#000000", "linestyle": (0, (2, 4))}
MAX_JOINED_IMAGES = 300
"""Number of images up to which the marks before and after are joined by a line."""


def group_styles(names: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return colour and number of marker and dashes of each name, all combinations in turn."""
    count = len(GROUP_COLOURS)
    return {
        name: (GROUP_COLOURS[index % count], (index + index // count) % len(GROUP_MARKERS))
        for index, name in enumerate(names)
    }


def distance_chart(modality: str, by_vendor: Mapping[str, Sequence[GroupImage]]) -> str:
    """Return an SVG with the distances of each vendor's images before and after, or ""."""
    distances: dict[str, list[tuple[str, tuple[float, float]]]] = {}
    for vendor, members in by_vendor.items():
        for member in members:
            if member.distances:
                row = (member.image.full_name, member.distances)
                distances.setdefault(vendor, []).append(row)
    if not distances:
        return ""
    are_joined = sum(map(len, distances.values())) <= MAX_JOINED_IMAGES

    def draw(figure: Figure) -> None:
        (axes,) = charts.add_panels(figure, 1, (70, 56))
        axes.set(ylabel="distance to the target", xlim=(0, len(distances)))
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
        axes.grid(axis="y", color="#e3e8ec", linewidth=1)
        for column, (vendor, rows) in enumerate(distances.items()):
            values = np.array([pair for _, pair in rows]).T
            # Spread sideways by a fixed pattern, so that equal values do not hide each other.
            jitter = 0.07 * ((np.arange(len(rows)) * 0.618) % 1 - 0.5)
            x = column + np.array([[0.3], [0.7]]) + jitter
            if are_joined:
                axes.plot(x, values, color="#ccd3d9", linewidth=1, zorder=1)
            for stage, stage_x, heights in zip(BEFORE_AFTER, x, values, strict=True):
                tooltips = [f"{name}: {y:.4g}" for (name, _), y in zip(rows, heights, strict=True)]
                _mark(axes, (stage_x, heights), tooltips, "o", charts.STAGE_STYLES[stage]["color"])
            bars = column + np.array([[0.18, 0.58], [0.42, 0.82]])
            axes.hlines(np.median(values, axis=1), *bars, color="#222222", linewidth=2, zorder=3)
            axes.text(column + 0.5, -0.2, f"{vendor} ({len(rows)})", fontsize=13, ha="center",
                      transform=axes.get_xaxis_transform())  # fmt: skip
        positions = np.add.outer(np.arange(len(distances)), (0.3, 0.7)).ravel()
        axes.set_xticks(positions, BEFORE_AFTER * len(distances), color="#555555")
        highest = max(max(pair) for rows in distances.values() for _, pair in rows)
        axes.set_ylim(0, 1.08 * highest or 1.0)

    return draw_svg(
        draw,
        90 + 190 * len(distances),
        charts.PANEL_HEIGHT_PT + 20,
        name=f"{modality}-distances",
        title=f"{modality}: distance to the target before and after harmonization, by vendor",
        description="A mark for each image; bars are medians.",
    )


def vendor_density_chart(modality: str, by_vendor: Mapping[str, Sequence[GroupImage]]) -> str:
    """Return an SVG with the mean density of each vendor's images and of the targets, or ""."""
    data: dict[str, list[QCData]] = {}
    for vendor, members in by_vendor.items():
        for member in members:
            if member.qc_data and set(BEFORE_AFTER) <= set(member.qc_data.densities):
                data.setdefault(vendor, []).append(member.qc_data)
    if not data:
        return ""
    styles = group_styles(list(data))
    targets = [
        image for images in data.values() for image in images if "target" in image.densities
    ]
    panels: dict[str, list[Curve]] = {stage: [] for stage in BEFORE_AFTER}
    for stage, curves in panels.items():
        for vendor, images in data.items():
            style = {"color": styles[vendor][0], "linestyle": GROUP_DASHES[styles[vendor][1]]}
            curves.append(Curve(f"{vendor} ({len(images)})", mean_density(images, stage), style))
        if targets:
            curves.append(Curve("target", mean_density(targets, "target"), TARGET_STYLE))
    return density_chart(
        panels,
        charts.DENSITY_CENTRES,
        charts.INTENSITY_LABEL,
        width=960,
        has_common_height=True,
        name=f"{modality}-densities",
        title=f"{modality}: intensity distributions by vendor, before and after harmonization",
        description=f"Mean over images of {', '.join(data)}.",
    )


def embedding_chart(modality: str, group: Sequence[GroupImage]) -> str:
    """Return an SVG with the images on two principal components of their embeddings, or ""."""
    members, data = stack_embeddings(group)
    if len(members) < 3:
        return ""
    scores, explained = principal_components(data)
    if scores.shape[-1] < 2:
        return ""
    scanners = np.array([member.scanner for member in members])
    styles = group_styles(sorted(set(scanners.tolist())))
    legend_height = charts.LEGEND_ROW_PT * len(styles) + 10

    def draw(figure: Figure) -> None:
        panels = charts.add_panels(figure, 2, (24, 46 + legend_height))
        low, high = scores[..., :2].min(axis=(0, 1)), scores[..., :2].max(axis=(0, 1))
        margin = 0.05 * np.where(high > low, high - low, 1)
        limits = np.transpose([low - margin, high + margin])
        for axes, stage, points in zip(panels, BEFORE_AFTER, scores, strict=True):
            axes.set(title=stage, xticks=[], yticks=[], xlim=limits[0], ylim=limits[1],
                     xlabel=f"component 1 ({100 * explained[0]:.0f} % of variance)")  # fmt: skip
            axes.spines[:].set(visible=True, color="#c5ccd3")
            for scanner, (colour, marker) in styles.items():
                rows = np.flatnonzero(scanners == scanner)
                tooltips = [f"{members[row].image.full_name}, {scanner}" for row in rows]
                _mark(axes, points[rows, :2].T, tooltips, GROUP_MARKERS[marker], colour,
                      label=f"{scanner} ({len(rows)})")  # fmt: skip
        panels[0].set_ylabel(f"component 2 ({100 * explained[1]:.0f} %)")
        charts.add_legend(figure)

    return draw_svg(
        draw,
        960,
        charts.PANEL_HEIGHT_PT + legend_height,
        name=f"{modality}-embedding",
        title=f"{modality}: scanners in embedding space, before and after harmonization",
        description="A mark for each image on the first two principal components of the encoder "
        "embeddings, which are common to both panels.",
    )


def _mark(
    axes: Axes, xy: Any, tooltips: Sequence[str], marker: str, colour: str, label: str = ""
) -> None:
    """Draw marks that show a text when the pointer rests on them."""
    # Two line widths make matplotlib draw mark by mark, each with its address.
    axes.scatter(xy[0], xy[1], s=50, c=colour, marker=marker, linewidths=(0, 0), urls=tooltips,
                 label=label, zorder=2, clip_on=False)  # fmt: skip
