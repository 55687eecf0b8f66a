"""Charts of the group page: distance to the target, intensity distributions, embedding space."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bids_ihf.reports.charts import (
    DENSITY_CENTRES,
    INTENSITY_LABEL,
    STAGE_STYLES,
    add_axes,
    add_density_axes,
    draw_svg,
)
from bids_ihf.reports.group_statistics import principal_components, stack_embeddings
from bids_ihf.reports.qc_data import BEFORE_AFTER, MAX_DENSITY_INTENSITY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from bids_ihf.bids.harmonized_images import HarmonizedImage
    from bids_ihf.reports.group_statistics import GroupImage
    from bids_ihf.reports.qc_data import QCData

GROUP_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#6a3d9a", "#444444",
)  # fmt: skip
"""Of Okabe and Ito (2008), the yellow darkened for a white page, and two more."""
GROUP_MARKERS = ("o", "s", "D", "^")
GROUP_DASHES: tuple[Any, ...] = ("solid", (0, (8, 3)), (0, (3, 3)), (0, (8, 3, 2, 3)))
TARGET_STYLE: dict[str, Any] = {"color": "#000000", "linestyle": (0, (2, 4))}
PANEL_WIDTH, PANEL_HEIGHT, LEGEND_ROW = 480, 330, 20
"""Points."""
MAX_JOINED_IMAGES = 300
"""Number of images up to which the marks before and after are joined by a line."""


class GroupStyle(NamedTuple):
    """How a group is drawn, distinguishable with and without colour."""

    colour: str
    marker: str
    linestyle: Any


def group_styles(names: Sequence[str]) -> dict[str, GroupStyle]:
    """Return a style for each name; no combination is repeated before all have been used."""
    styles = {}
    for index, name in enumerate(names):
        shape = (index + index // len(GROUP_COLOURS)) % len(GROUP_MARKERS)
        colour = GROUP_COLOURS[index % len(GROUP_COLOURS)]
        styles[name] = GroupStyle(colour, GROUP_MARKERS[shape], GROUP_DASHES[shape])
    return styles


def distance_chart(suffix: str, by_vendor: Mapping[str, Sequence[HarmonizedImage]]) -> str:
    """Return an SVG with the distances of each vendor's images before and after; "" if none."""
    distances = {
        vendor: [
            (image.full_name, before, after)
            for image in images
            if (before := image.number("distance_before")) is not None
            and (after := image.number("distance_after")) is not None
        ]
        for vendor, images in by_vendor.items()
    }
    distances = {vendor: rows for vendor, rows in distances.items() if rows}
    if not distances:
        return ""
    joined = sum(map(len, distances.values())) <= MAX_JOINED_IMAGES
    width = 90 + 190 * len(distances)

    def draw(figure: Figure) -> None:
        axes = add_axes(figure, 70, 56, width - 90, 234)
        axes.set_ylabel("distance to the target")
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
        axes.grid(axis="y", color="#e3e8ec", linewidth=1)
        axes.set_axisbelow(True)
        for column, (vendor, rows) in enumerate(distances.items()):
            names = [name for name, _, _ in rows]
            values = np.array([pair for _, *pair in rows]).T
            # Spread sideways by a fixed pattern, so that equal values do not hide each other.
            jitter = 0.07 * ((np.arange(len(rows)) * 0.618) % 1 - 0.5)
            x = column + np.array([[0.3], [0.7]]) + jitter
            if joined:
                axes.plot(x, values, color="#ccd3d9", linewidth=1, zorder=1)
            for stage, at, heights in zip(BEFORE_AFTER, x, values, strict=True):
                labels = [f"{n}: {v:.4g}" for n, v in zip(names, heights, strict=True)]
                _scatter(axes, at, heights, labels, "o", STAGE_STYLES[stage]["color"])
            medians = np.median(values, axis=1)
            axes.hlines(medians, column + np.array([0.18, 0.58]), column + np.array([0.42, 0.82]),
                        color="#222222", linewidth=2, zorder=3)  # fmt: skip
            axes.text(column + 0.5, -0.2, f"{vendor} ({len(rows)})", fontsize=13, ha="center",
                      transform=axes.get_xaxis_transform())  # fmt: skip
        positions = [column + offset for column in range(len(distances)) for offset in (0.3, 0.7)]
        axes.set_xticks(positions, BEFORE_AFTER * len(distances), color="#555555")
        axes.set_xlim(0, len(distances))
        highest = max(chain.from_iterable(row[1:] for rows in distances.values() for row in rows))
        axes.set_ylim(0, 1.08 * highest if highest > 0 else 1.0)

    return draw_svg(
        draw,
        width,
        320,
        name=f"{suffix}-distances",
        title=f"{suffix}: distance to the target before and after harmonization, by vendor",
        description="A mark for each image; bars are medians.",
    )


def vendor_density_chart(suffix: str, by_vendor: Mapping[str, Sequence[GroupImage]]) -> str:
    """Return an SVG with the mean density of each vendor's images and of their targets.

    "" if no image has densities.
    """
    data = {
        vendor: [
            member.qc_data
            for member in members
            if member.qc_data and set(BEFORE_AFTER) <= set(member.qc_data.densities)
        ]
        for vendor, members in by_vendor.items()
    }
    data = {vendor: images for vendor, images in data.items() if images}
    if not data:
        return ""
    styles = group_styles(list(data))
    targets = [
        image for images in data.values() for image in images if "target" in image.densities
    ]

    def draw(figure: Figure) -> None:
        curves = {
            stage: {vendor: _mean_density(images, stage) for vendor, images in data.items()}
            for stage in BEFORE_AFTER
        }
        peak = max(curve.max() for rows in curves.values() for curve in rows.values()) or 1.0
        legend_height = figure.get_size_inches()[1] * 72 - PANEL_HEIGHT
        for column, (stage, rows) in enumerate(curves.items()):
            axes = add_density_axes(
                figure, PANEL_WIDTH * column + 16, 46 + legend_height, PANEL_WIDTH - 32, 244
            )
            axes.set_title(stage, fontsize=14)
            axes.set_xlabel(INTENSITY_LABEL)
            axes.set_xlim(0, MAX_DENSITY_INTENSITY)
            for vendor, curve in rows.items():
                style = styles[vendor]
                label = f"{vendor} ({len(data[vendor])})"
                axes.plot(DENSITY_CENTRES, curve / peak, color=style.colour,
                          linestyle=style.linestyle, label=label)  # fmt: skip
            if targets:
                target = _mean_density(targets, "target") / peak
                axes.plot(DENSITY_CENTRES, target, label="target", **TARGET_STYLE)
        _legend_below(figure)

    return draw_svg(
        draw,
        2 * PANEL_WIDTH,
        PANEL_HEIGHT + LEGEND_ROW * (len(data) + bool(targets)) + 6,
        name=f"{suffix}-densities",
        title=f"{suffix}: intensity distributions by vendor, before and after harmonization",
        description=f"Mean over images of {', '.join(data)}.",
    )


def embedding_chart(suffix: str, group: Sequence[GroupImage]) -> str:
    """Return an SVG with the images on the first two principal components of their embeddings.

    Components are common to both stages.  "" for fewer than three images, or no second component.
    """
    members, data = stack_embeddings(group)
    if len(members) < 3:
        return ""
    scores, explained = principal_components(data)
    if scores.shape[-1] < 2:
        return ""
    scanners = sorted({member.scanner for member in members})
    styles = group_styles(scanners)

    def draw(figure: Figure) -> None:
        legend_height = figure.get_size_inches()[1] * 72 - PANEL_HEIGHT
        bottom, height = 46 + legend_height, 244
        low, high = scores[..., :2].min(axis=(0, 1)), scores[..., :2].max(axis=(0, 1))
        margin = 0.05 * np.where(high > low, high - low, 1)
        for column, stage in enumerate(BEFORE_AFTER):
            axes = add_axes(figure, PANEL_WIDTH * column + 24, bottom, PANEL_WIDTH - 40, height)
            axes.set_title(stage, fontsize=14)
            axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), xticks=[],
                     ylim=(low[1] - margin[1], high[1] + margin[1]), yticks=[])  # fmt: skip
            axes.spines[:].set(visible=True, color="#c5ccd3")
            axes.set_xlabel(f"component 1 ({100 * explained[0]:.0f} % of variance)")
            if column == 0:
                axes.set_ylabel(f"component 2 ({100 * explained[1]:.0f} %)")
            for scanner in scanners:
                rows = [i for i, member in enumerate(members) if member.scanner == scanner]
                labels = [f"{members[i].image.full_name}, {scanner}" for i in rows]
                style = styles[scanner]
                x, y = scores[column, rows, :2].T
                _scatter(axes, x, y, labels, style.marker, style.colour,
                         label=f"{scanner} ({len(rows)})")  # fmt: skip
        _legend_below(figure)

    return draw_svg(
        draw,
        2 * PANEL_WIDTH,
        PANEL_HEIGHT + LEGEND_ROW * len(scanners) + 6,
        name=f"{suffix}-embedding",
        title=f"{suffix}: scanners in embedding space, before and after harmonization",
        description="A mark for each image on the first two principal components of the encoder "
        "embeddings, which are common to both panels.",
    )


def _mean_density(images: Sequence[QCData], stage: str) -> Any:
    return np.mean([image.brain_density(stage) for image in images], axis=0)


def _scatter(
    axes: Any, x: Any, y: Any, tooltips: Sequence[str], marker: str, colour: str, **options: Any
) -> None:
    """Draw marks that show a text when the pointer rests on them."""
    # Two line widths make matplotlib draw mark by mark, each with its address.
    axes.scatter(x, y, marker=marker, c=colour, s=50, linewidths=(0, 0), urls=tooltips, zorder=2,
                 clip_on=False, **options)  # fmt: skip


def _legend_below(figure: Figure) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower left", handlelength=2.5, labelspacing=0.5)
