"""Pictures of one harmonized image: before and after, what changed, and intensity densities."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_ihf.bids.write import write_atomic
from bids_ihf.report.slices import PLANES, View, strip, view_of
from bids_ihf.report.svg import Row, gradient, mosaic

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HARMONIZED, CHANGE, DENSITIES = "harmonized", "change", "densities"
SIDES = {"axial": ("L", "R"), "coronal": ("L", "R"), "sagittal": ("P", "A")}
BRIGHTEST = 1.15
"""Where display becomes white, relative to the brain's brightest voxels."""
STRONGEST = 98.0
"""Percentile of the size of the change in the brain at which its colour is fullest."""
OPACITY = 0.85
BLUES_TO_REDS = ((33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43))
"""Diverging scale that colour-blind readers can tell apart (ColorBrewer RdBu, reversed)."""
BEFORE_COLOR, AFTER_COLOR = "#7f7f7f", "#d95f02"
BINS = 200


def write_reportlets(
    figures_dir: Path,
    stem: str,
    suffix: str,
    *,
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    change: NDArray[np.floating],
    mask: NDArray[np.bool_],
    affine: NDArray[np.float64],
) -> list[Path]:
    """Write ``<stem>_desc-{harmonized,change,densities}_<suffix>.svg``.

    Parameters
    ----------
    figures_dir
        ``OUT/sub-X/figures``; made where it is missing.
    stem, suffix
        All entities of the source image joined by ``_``, and its suffix.
    before, after, change
        Source image, harmonized image and their difference, (X, Y, Z) on one grid.
    mask
        Brain.
    affine
        (4, 4), from voxels to right, anterior, superior in mm.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    CannotCreate
        A file cannot be written.
    """
    view, brain = view_of(mask, affine), mask.astype(bool)
    name = f"{stem} {suffix}"
    pictures = {
        HARMONIZED: _before_and_after(before, after, brain, view, name),
        CHANGE: _change_over(after, change, brain, view, name),
        DENSITIES: densities(before, after, brain, name),
    }
    paths = [figures_dir / f"{stem}_desc-{what}_{suffix}.svg" for what in pictures]
    for path, content in zip(paths, pictures.values(), strict=True):
        write_atomic(path, content)
    return paths


def window(data: NDArray[np.floating], brain: NDArray[np.bool_]) -> tuple[float, float]:
    """Intensities shown black and white: the same rule for every image, whatever its units."""
    inside = data[brain] if brain.any() else data
    low, high = np.percentile(inside, (1, 99.5))
    dark = min(0.0, float(low))
    return dark, dark + max(float(high) - dark, 1e-6) * BRIGHTEST


def _gray(
    data: NDArray[np.floating], brain: NDArray[np.bool_], view: View
) -> list[NDArray[np.float32]]:
    """The three strips of an image, 0 for black to 1 for white."""
    low, high = window(data, brain)
    strips = (strip(data, view, plane) for plane in PLANES)
    return [np.clip((one - low) / (high - low), 0, 1).astype(np.float32) for one in strips]


def _before_and_after(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    brain: NDArray[np.bool_],
    view: View,
    name: str,
) -> bytes:
    first, second = (_gray(data, brain, view) for data in (before, after))
    rows = [
        Row(_bytes(one), view.strip_size(plane), label, plane.name, SIDES[plane.name])
        for plane, *pair in zip(PLANES, first, second, strict=True)
        for label, one in zip(("before", "after"), pair, strict=True)
    ]
    return mosaic(
        rows,
        title=f"{name}: before and after harmonization",
        text="Axial, coronal and sagittal slices through the brain, each row of the original "
        "image above the same slices of the harmonized image, both from black to white by the "
        "same rule: the 99.5th percentile of the brain is just below white.",
    )


def _change_over(
    after: NDArray[np.floating],
    change: NDArray[np.floating],
    brain: NDArray[np.bool_],
    view: View,
    name: str,
) -> bytes:
    inside = np.abs(change[brain] if brain.any() else change)
    limit = max(float(np.percentile(inside, STRONGEST)), 1e-12)
    rows = [
        Row(
            blend(one, strip(change, view, plane) / limit),
            view.strip_size(plane),
            plane.name,
            marks=SIDES[plane.name],
        )
        for plane, one in zip(PLANES, _gray(after, brain, view), strict=True)
    ]
    colors = [f"rgb{color}" for color in BLUES_TO_REDS]
    return mosaic(
        rows,
        title=f"{name}: change by harmonization",
        text="Harmonized minus original image, in the units of the images, over axial, coronal "
        f"and sagittal slices of the harmonized image; blue is darker, red is brighter, and the "
        f"fullest colours stand for {limit:.4g}.",
        legend=gradient(colors, f"\N{MINUS SIGN}{limit:.3g}", f"+{limit:.3g}"),
    )


def blend(gray: NDArray[np.float32], change: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Lay the change (-1 to 1) in colour over a gray image (0 to 1); no change is transparent."""
    part = np.clip(change, -1, 1)
    places = np.linspace(-1, 1, len(BLUES_TO_REDS))
    anchors = np.array(BLUES_TO_REDS, dtype=np.float64)
    color = np.stack([np.interp(part, places, channel) for channel in anchors.T], axis=-1)
    weight = (OPACITY * np.sqrt(np.abs(part)))[..., None]
    return _bytes((1 - weight) * gray[..., None] + weight * color / 255)


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def density(values: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smoothed density of intensities between their 0.1 and 99.9 percentiles: places, heights."""
    low, high = np.percentile(values, (0.1, 99.9))
    heights, edges = np.histogram(
        values, bins=BINS, range=(low, max(high, low + 1e-6)), density=True
    )
    smooth: NDArray[np.float64] = ndimage.gaussian_filter1d(heights, 2.0)
    return (edges[:-1] + edges[1:]) / 2, smooth


def densities(
    before: NDArray[np.floating], after: NDArray[np.floating], brain: NDArray[np.bool_], name: str
) -> bytes:
    """Densities of the intensities in the brain, in the images' own units and on one scale."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    values = [data[brain] if brain.any() else data.ravel() for data in (before, after)]
    # Text as text and fixed names within the file: small, and equal input gives equal bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 11}):
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        FigureCanvasSVG(figure)
        own, scaled = figure.subplots(1, 2)
        for data, color, label in zip(
            values, (BEFORE_COLOR, AFTER_COLOR), ("before", "after"), strict=True
        ):
            low, high = np.percentile(data, (1, 99))
            for axes, shown in (own, data), (scaled, (data - low) / max(high - low, 1e-6)):
                places, heights = density(shown)
                axes.plot(places, heights, color=color, label=label)
                axes.fill_between(places, heights, color=color, alpha=0.15, linewidth=0)
        own.set(xlabel="intensity, units of the image", title="As stored")
        scaled.set(xlabel="intensity, 1st to 99th percentile as 0 to 1", title="On one scale")
        for axes in (own, scaled):
            axes.set(ylabel="density", yticks=[], ylim=(0, None))
            axes.spines[["top", "right"]].set_visible(False)
        own.legend(frameon=False)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _described(stream.getvalue(), f"{name}: intensities in the brain, before and after")


def _described(picture: bytes, title: str) -> bytes:
    """Give a picture of matplotlib a title, and bring its tag to where the assembler wants it."""
    from html import escape
    from re import sub

    text = picture[picture.index(b"<svg") :].decode()
    tag, rest = text.split(">", 1)
    plain = sub(r'\s(width|height)="[^"]*"', "", " ".join(tag.split()))
    return (
        f'{plain} role="img" aria-labelledby="title"><title id="title">{escape(title)}</title>{rest}'
    ).encode()
