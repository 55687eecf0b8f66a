"""Figures of one image for its participant's page: before and after, the change, the densities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.report import svg
from bids_ihf.report.density import density_figure
from bids_ihf.report.mosaic import (
    SLICES,
    VIEWS,
    Layout,
    View,
    cell_starts,
    cell_width,
    plan_layout,
    tile_row,
)
from bids_ihf.report.window import Window, blend, choose_windows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HARMONIZED, CHANGE, DENSITIES = "harmonized", "change", "densities"
GUTTER = 64
"""Width of the column of row names."""
HEADER = 30
GAP = 10
STRONGEST = 99.0
"""Percentile of the size of the change in the brain that is shown in full colour."""


def write_reportlets(
    figures_dir: Path,
    stem: str,
    suffix: str,
    *,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    change: NDArray[np.float32],
    mask: NDArray[np.bool_],
    affine: NDArray[np.float64],
) -> list[Path]:
    """Write the figures of one image.

    Parameters
    ----------
    figures_dir
        ``OUT/sub-X/figures``; made if it is not there.
    stem
        All entities of the source, such as ``sub-01_ses-A_run-1``.
    suffix
        ``T1w``, ``T2w`` or ``dwi``.
    before, after, change
        Volumes (X, Y, Z) on the native grid.
    mask
        Brain mask (X, Y, Z).
    affine
        Native voxels to world (RAS, mm); any orientation and voxel size.

    Returns
    -------
    list[Path]
        ``<stem>_desc-<harmonized|change|densities>_<suffix>.svg``.

    Raises
    ------
    CannotCreate
        They cannot be written.
    """
    from bids_ihf.bids.write import write_atomic

    name = f"{stem}_{suffix}"
    brain = np.asarray(mask, dtype=bool)
    layout = plan_layout(brain, affine)
    windows = choose_windows(before, after, brain)
    same = windows[0] == windows[1]
    if not same:  # harmonized minus original would show the change of unit and little else
        change = windows[1].share(after) - windows[0].share(before)
    contents = {
        HARMONIZED: harmonized_figure(name, before, after, layout, windows),
        CHANGE: change_figure(name, after, change, brain, layout, windows[1], relative=not same),
        DENSITIES: density_figure(name, before, after, brain, shared=same),
    }
    paths = []
    for kind, content in contents.items():
        path = figures_dir / figure_name(stem, kind, suffix)
        write_atomic(path, content)
        paths.append(path)
    return paths


def figure_name(stem: str, kind: str, suffix: str) -> str:
    """Name of a figure, as BIDS derivatives are named."""
    return f"{stem}_desc-{kind}_{suffix}.svg"


def harmonized_figure(
    name: str,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    layout: Layout,
    windows: tuple[Window, Window],
) -> bytes:
    """Draw each view before and, beneath it, after."""
    volumes = [layout.to_ras(data) for data in (before, after)]
    cells = cell_width(layout)
    body: list[str] = []
    top = HEADER
    for view in VIEWS:
        for data, window, label in zip(volumes, windows, ("before", "after"), strict=True):
            row = window.grey(tile_row(data, layout, view, cells)).round().astype(np.uint8)
            body.append(svg.picture(row, GUTTER, top))
            body += _marks(layout, view, cells, top, label, positions=label == "after")
            top += row.shape[0] + 2
        top += GAP
    words = f"window {windows[0]} for both"
    if windows[0] != windows[1]:
        words = f"the units differ: window before {windows[0]}, after {windows[1]}"
    body.append(svg.text(GUTTER, 19, f"{name}: {words}", size=13, fill="#ddd"))
    return svg.document(
        GUTTER + cells * SLICES,
        top,
        title=f"{name} before and after harmonization",
        description=f"Axial, coronal and sagittal slices, before above after; {words}.",
        body=body,
        fill="#000",
    )


def change_figure(
    name: str,
    after: NDArray[np.float32],
    change: NDArray[np.float32],
    mask: NDArray[np.bool_],
    layout: Layout,
    window: Window,
    *,
    relative: bool = False,
) -> bytes:
    """Draw the change in colour over the harmonized image; red is more, blue is less.

    `relative` says that the change is a share of each image's own window and not in units.
    """
    inside = np.abs(change[mask] if mask.any() else change)
    limit = float(np.percentile(inside, STRONGEST)) or 1.0
    images, changes = layout.to_ras(after), layout.to_ras(change)
    cells = cell_width(layout)
    body: list[str] = []
    top = HEADER
    for view in VIEWS:
        grey = window.grey(tile_row(images, layout, view, cells))
        colour = blend(grey, tile_row(changes, layout, view, cells) / np.float32(limit))
        body.append(svg.picture(colour, GUTTER, top))
        body += _marks(layout, view, cells, top, "change", positions=True)
        top += colour.shape[0] + GAP
    width = GUTTER + cells * SLICES
    words = "each scaled by its own window (the units differ)" if relative else "in its units"
    words = f"harmonized - original, {words}"
    body.append(svg.text(GUTTER, 19, f"{name}: {words}", size=13, fill="#ddd"))
    full = f"{100 * limit:.3g} %" if relative else f"{limit:.3g}"
    body += _colour_bar(width - 330, full)
    return svg.document(
        width,
        top,
        title=f"{name} change made by the harmonization",
        description=f"{words}: red where the image became brighter, blue where it became darker; "
        f"full colour at {full}.",
        body=body,
        fill="#000",
    )


def _marks(
    layout: Layout, view: View, cells: int, top: float, label: str, *, positions: bool
) -> list[str]:
    """Row name, sides, and where in the head the slices lie."""
    height, width = layout.tile_size(view)
    starts = cell_starts(layout, view, cells)
    middle, right = top + height / 2, GUTTER + starts[-1] + width - 2
    marks = [
        svg.text(GUTTER - 8, middle, label, size=13, anchor="end", fill="#ddd"),
        svg.text(GUTTER - 8, middle + 14, view.name, size=10, anchor="end", fill="#999"),
        _mark(GUTTER + starts[0] + 2, middle, view.low_mark, "start"),
        _mark(right, middle, view.high_mark, "end"),
    ]
    if positions:
        axis = "xyz"[view.axis]
        for start, index in zip(starts, layout.indices[view.axis], strict=True):
            words = f"{axis} = {layout.position(view, index):.0f} mm"
            place = (GUTTER + start + width / 2, top + height - 3)
            marks.append(
                svg.text(*place, words, size=9, anchor="middle", fill="#ddd", halo="#000")
            )
    return marks


def _mark(x: float, y: float, letter: str, anchor: str) -> str:
    return svg.text(x, y, letter, size=11, anchor=anchor, fill="#fc6", halo="#000")


def _colour_bar(left: float, full: str) -> list[str]:
    ramp = np.repeat(np.linspace(-1, 1, 160, dtype=np.float32)[None], 12, axis=0)
    colours = blend(np.full(ramp.shape, 80, dtype=np.float32), ramp)
    return [
        svg.text(left + 70, 19, f"-{full}", size=12, anchor="end", fill="#ddd"),
        svg.picture(colours, left + 76, 9),
        svg.text(left + 242, 19, f"+{full}", size=12, fill="#ddd"),
    ]
