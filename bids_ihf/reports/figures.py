"""The figures of one harmonized image for its participant's page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.io.atomic import remove, write_atomic
from bids_ihf.reports.charts import intensity_chart, tissue_chart
from bids_ihf.reports.mosaic import SliceFigures
from bids_ihf.reports.qc_data import BEFORE_AFTER, QCData, qc_data_name
from bids_ihf.reports.slices import Contour, Window, choose_windows, plan_layout

if TYPE_CHECKING:
    from bids_ihf.anat.qc_statistics import QCStatistics

FIGURE_DESCS = ("harmonized", "flicker", "change", "densities", "fa", "mask", "alignment")
"""The ``desc`` entity of each figure, in the order of the page."""
FA_WINDOW = Window(0.0, 1.0)
FULL_COLOUR_PERCENTILE = 99.0
"""Percentile of the absolute change in the brain that is displayed in full colour."""
MASK_RGB = (255, 196, 0)
TEMPLATE_CONTOURS_RGB = {0.5: (0, 220, 120), 1.5: (255, 110, 90)}
"""Colours of the outlines of the template's brain and of its white matter, by level."""


@frozen(eq=False)
class ReportVolumes:
    """The volumes (X, Y, Z) that an image's figures show, all on its native grid.

    `affine` leads from voxels to world (RAS, mm), for any orientation and voxel size.  `template`
    is registered: 1 in its brain, 2 in its white matter.  `reference` holds the template's tissues
    with the intensities of the target, `anisotropy` a diffusion series' FA before and after.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    change: NDArray[np.float32]
    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]
    template: NDArray[np.float32] | None = None
    reference: NDArray[np.float32] | None = None
    anisotropy: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None


def write_figures(
    figures_dir: Path,
    stem: str,
    suffix: str,
    volumes: ReportVolumes,
    statistics: QCStatistics | None = None,
) -> list[Path]:
    """Write the figures of one image as ``<stem>_desc-<kind>_<suffix>.svg``.

    Figures of absent volumes are left out, and those of an earlier run removed.  With
    `statistics`, which harmonization measured of an anatomical image, its QC data are written
    too, as JSON.  Raises CannotWrite.
    """
    qc_data = None if statistics is None else QCData.from_statistics(statistics)
    pictures = draw_figures(f"{stem}_{suffix}", volumes, qc_data)
    files = {figure_name(stem, desc, suffix): picture for desc, picture in pictures.items()}
    if qc_data is not None:
        files[qc_data_name(stem, suffix)] = qc_data.to_json().encode()
    for desc in set(FIGURE_DESCS) - set(pictures):
        remove(figures_dir / figure_name(stem, desc, suffix))
    for name, data in files.items():
        write_atomic(figures_dir / name, data)
    return [figures_dir / name for name in files]


def draw_figures(name: str, volumes: ReportVolumes, qc_data: QCData | None) -> dict[str, bytes]:
    """Return the figures of one image as SVG, by kind."""
    brain = np.asarray(volumes.mask, dtype=bool)
    layout = plan_layout(brain, volumes.affine)
    to_ras = layout.to_ras
    before, after, change = map(to_ras, (volumes.before, volumes.after, volumes.change))
    windows = choose_windows((before, after), to_ras(brain))
    has_same_units = windows[0] == windows[1]
    if not has_same_units:  # harmonized minus original would mostly show the change of units
        change = windows[1].normalize(after) - windows[0].normalize(before)
    magnitude = np.abs(change[to_ras(brain)] if brain.any() else change)
    full_colour = float(np.percentile(magnitude, FULL_COLOUR_PERCENTILE)) or 1.0
    compared = {"before": before, "after": after}
    if volumes.reference is not None:
        compared["target"] = to_ras(volumes.reference)
    draw = SliceFigures(name, layout, windows)
    mask_outline = Contour(to_ras(brain).astype(np.float32), 0.5, MASK_RGB)
    figures = {
        "harmonized": draw.comparison(compared),
        "flicker": draw.flicker(before, after),
        "change": draw.change_map(after, change, full_colour),
        "mask": draw.outlines("brain mask", before, [mask_outline]),
    }
    if volumes.template is not None:
        template, levels = to_ras(volumes.template), TEMPLATE_CONTOURS_RGB.items()
        contours = [Contour(template, level, rgb) for level, rgb in levels]
        figures["alignment"] = draw.outlines("template brain and white matter", before, contours)
    if volumes.anisotropy is not None:
        maps = dict(zip(BEFORE_AFTER, map(to_ras, volumes.anisotropy), strict=True))
        draw_fa = SliceFigures(f"{name} fractional anisotropy", layout, (FA_WINDOW, FA_WINDOW))
        figures["fa"] = draw_fa.comparison(maps)
    if qc_data is not None and set(BEFORE_AFTER) <= set(qc_data.densities):
        chart = tissue_chart(name, qc_data.densities)
    else:
        chart = intensity_chart(name, (before, after), to_ras(brain), has_same_units)
    return figures | {"densities": chart.encode("ascii", "xmlcharrefreplace")}


def figure_name(stem: str, desc: str, suffix: str) -> str:
    """Return the file name of a figure, a BIDS derivative name."""
    return f"{stem}_desc-{desc}_{suffix}.svg"
