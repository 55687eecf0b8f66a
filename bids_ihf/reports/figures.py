"""Figures of one image for its participant's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.reports import svg
from bids_ihf.reports.density import density_figure
from bids_ihf.reports.flicker import flicker_figure
from bids_ihf.reports.mosaic import (
    SLICES,
    VIEWS,
    Layout,
    View,
    cell_starts,
    cell_width,
    plan_layout,
    tile_row,
)
from bids_ihf.reports.outline import Edges
from bids_ihf.reports.tissue_density import tissue_figure
from bids_ihf.reports.window import Window, blend, choose_windows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.anat.harmonize import QCStatistics
    from bids_ihf.reports.evidence import Kept

HARMONIZED, FLICKER, CHANGE, DENSITIES = "harmonized", "flicker", "change", "densities"
MASK, ALIGNMENT, ANISOTROPY = "mask", "alignment", "fa"
KINDS = (HARMONIZED, FLICKER, CHANGE, DENSITIES, ANISOTROPY, MASK, ALIGNMENT)
"""In the order of the page."""
FA_WINDOW = Window(0.0, 1.0)
MASK_COLOUR = (255, 196, 0)
TEMPLATE_EDGES = {0.5: (0, 220, 120), 1.5: (255, 110, 90)}
"""Colours of the edges of the template's brain and of its white matter."""
GUTTER = 64
"""Width of the column of row names."""
HEADER = 30
GAP = 10
STRONGEST = 99.0
"""Percentile of the size of the change in the brain that is shown in full colour."""


@frozen(eq=False)
class Shown:
    """The volumes (X, Y, Z) of one image that its figures show, all on its native grid.

    Attributes
    ----------
    before, after, change
        Intensities.
    mask
        Brain mask.
    affine
        Native voxels to world (RAS, mm); any orientation and voxel size.
    template
        The template after alignment: 1 in its brain, 2 in its white matter.
    reference
        The target's contrast, in the target's units.
    anisotropy
        Fractional anisotropy before and after, of a diffusion series.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    change: NDArray[np.float32]
    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]
    template: NDArray[np.float32] | None = None
    reference: NDArray[np.float32] | None = None
    anisotropy: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None


def write_reportlets(
    figures_dir: Path, stem: str, suffix: str, shown: Shown, evidence: QCStatistics | None = None
) -> list[Path]:
    """Write the figures of one image, and of a T1w or T2w image what was seen on the way.

    Parameters
    ----------
    figures_dir
        ``OUT/sub-X/figures``; made if it is not there.
    stem
        All entities of the source, such as ``sub-01_ses-A_run-1``.
    suffix
        ``T1w``, ``T2w`` or ``dwi``.
    shown
        What to draw; what it lacks has no figure.
    evidence
        Histograms and statistics of an image that went through the network.

    Returns
    -------
    list[Path]
        ``<stem>_desc-<kind>_<suffix>.svg``, and with evidence ``<stem>_desc-evidence_...json``.

    Raises
    ------
    CannotWrite
        They cannot be written.
    """
    from bids_ihf.io.atomic import remove, write_atomic
    from bids_ihf.reports.evidence import evidence_name, from_content, pack, to_content

    files = {}
    kept = None
    if evidence is not None:
        content = to_content(evidence)
        kept = from_content(content)
        files[evidence_name(stem, suffix)] = pack(content)
    for kind, picture in draw(f"{stem}_{suffix}", shown, kept).items():
        files[figure_name(stem, kind, suffix)] = picture
    for kind in KINDS:  # one of an earlier run would be taken for this one's
        name = figure_name(stem, kind, suffix)
        if name not in files:
            remove(figures_dir / name)
    for name, data in files.items():
        write_atomic(figures_dir / name, data)
    return [figures_dir / name for name in files]


def draw(name: str, shown: Shown, kept: Kept | None = None) -> dict[str, bytes]:
    """Return the figures of one image by kind."""
    brain = np.asarray(shown.mask, dtype=bool)
    layout = plan_layout(brain, shown.affine)
    windows = choose_windows(shown.before, shown.after, brain)
    same = windows[0] == windows[1]
    change = shown.change
    if not same:  # harmonized minus original would show the change of unit and little else
        change = windows[1].share(shown.after) - windows[0].share(shown.before)
    rows = {"before": shown.before, "after": shown.after}
    if shown.reference is not None:
        rows["target"] = shown.reference
    edges = [Edges(brain.astype(np.float32), 0.5, MASK_COLOUR)]
    drawn = {
        HARMONIZED: harmonized_figure(name, rows, layout, windows),
        FLICKER: flicker_figure(name, shown.before, shown.after, layout, windows),
        CHANGE: change_figure(
            name, shown.after, change, brain, layout, windows[1], relative=not same
        ),
        MASK: outline_figure(name, "brain mask", shown.before, edges, layout, windows[0]),
    }
    if shown.template is not None:
        edges = [Edges(shown.template, level, colour) for level, colour in TEMPLATE_EDGES.items()]
        drawn[ALIGNMENT] = outline_figure(
            name, "template: brain and white matter", shown.before, edges, layout, windows[0]
        )
    if shown.anisotropy is not None:
        both = dict(zip(("before", "after"), shown.anisotropy, strict=True))
        drawn[ANISOTROPY] = harmonized_figure(
            f"{name} fractional anisotropy", both, layout, (FA_WINDOW, FA_WINDOW)
        )
    drawn[DENSITIES] = (
        tissue_figure(name, kept.densities)
        if kept is not None and "before" in kept.densities and "after" in kept.densities
        else density_figure(name, shown.before, shown.after, brain, shared=same)
    )
    return drawn


def figure_name(stem: str, kind: str, suffix: str) -> str:
    """Name of a figure, as BIDS derivatives are named."""
    return f"{stem}_desc-{kind}_{suffix}.svg"


def harmonized_figure(
    name: str,
    rows: Mapping[str, NDArray[np.float32]],
    layout: Layout,
    windows: tuple[Window, Window],
) -> bytes:
    """Draw each view of each volume, one beneath the other; the first has the first window."""
    volumes = {label: layout.to_ras(data) for label, data in rows.items()}
    cells = cell_width(layout)
    body: list[str] = []
    top = HEADER
    last = list(rows)[-1]
    for view in VIEWS:
        for label, data in volumes.items():
            window = windows[0 if label == "before" else 1]
            row = window.grey(tile_row(data, layout, view, cells)).round().astype(np.uint8)
            body.append(svg.picture(row, GUTTER, top))
            body += _marks(layout, view, cells, top, label, positions=label == last)
            top += row.shape[0] + 2
        top += GAP
    words = f"window {windows[0]} for all"
    if windows[0] != windows[1]:
        words = f"the units differ: window before {windows[0]}, after {windows[1]}"
    body.append(svg.text(GUTTER, 19, f"{name}: {words}", size=13, fill="#ddd"))
    return svg.document(
        GUTTER + cells * SLICES,
        top,
        title=f"{name} before and after harmonization",
        description=f"Axial, coronal and sagittal slices; {', '.join(rows)} from above; {words}.",
        body=body,
        fill="#000",
    )


def outline_figure(
    name: str,
    what: str,
    image: NDArray[np.float32],
    edges: Sequence[Edges],
    layout: Layout,
    window: Window,
) -> bytes:
    """Draw each view of an image with lines on it."""
    ras = layout.to_ras(image)
    cells = cell_width(layout)
    body: list[str] = []
    top = HEADER
    for view in VIEWS:
        grey = window.grey(tile_row(ras, layout, view, cells)).round().astype(np.uint8)
        body += [svg.picture(grey, GUTTER, top)]
        body += [svg.picture(each.row(layout, view, cells), GUTTER, top) for each in edges]
        body += _marks(layout, view, cells, top, "before", positions=True)
        top += grey.shape[0] + GAP
    body.append(svg.text(GUTTER, 19, f"{name}: outline of the {what}", size=13, fill="#ddd"))
    return svg.document(
        GUTTER + cells * SLICES,
        top,
        title=f"{name} with the outline of the {what}",
        description="Axial, coronal and sagittal slices of the image before harmonization.",
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
