"""The figures of one harmonized image for its participant's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.io.atomic import remove, write_atomic
from bids_ihf.reports.charts import intensity_chart, tissue_density_chart
from bids_ihf.reports.mosaic import (
    change_mosaic,
    comparison_mosaic,
    contour_mosaic,
    flicker_figure,
)
from bids_ihf.reports.qc_data import BEFORE_AFTER, QCData, qc_data_name
from bids_ihf.reports.slices import Contour, Window, choose_windows, plan_layout

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.anat.harmonize import QCStatistics

COMPARISON, FLICKER, CHANGE_MAP, DENSITIES = "harmonized", "flicker", "change", "densities"
BRAIN_MASK, TEMPLATE_ALIGNMENT, FRACTIONAL_ANISOTROPY = "mask", "alignment", "fa"
FIGURE_KINDS = (
    COMPARISON, FLICKER, CHANGE_MAP, DENSITIES, FRACTIONAL_ANISOTROPY, BRAIN_MASK,
    TEMPLATE_ALIGNMENT,
)  # fmt: skip
"""The ``desc`` entity of each figure, in the order of the page."""
FA_WINDOW = Window(0.0, 1.0)
MASK_RGB = (255, 196, 0)
TEMPLATE_CONTOURS_RGB = {0.5: (0, 220, 120), 1.5: (255, 110, 90)}
"""Colours of the outlines of the template's brain and of its white matter, by level."""


@frozen(eq=False)
class ReportVolumes:
    """The volumes (X, Y, Z) that an image's figures show, all on its native grid.

    Attributes
    ----------
    before, after, change
        Intensities.
    mask
        Brain mask.
    affine
        Native voxels to world (RAS, mm); any orientation and voxel size.
    template
        The registered template: 1 in its brain, 2 in its white matter.
    reference
        The template's tissues with the target's intensities, in the target's units.
    anisotropy
        Fractional anisotropy of a diffusion series before and after.
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
    """Write the figures of one image, and its QC data if the network harmonized it.

    Parameters
    ----------
    figures_dir
        ``OUT/sub-X/figures``; created if missing.
    stem
        All entities of the source, such as ``sub-01_ses-A_run-1``.
    suffix
        ``T1w``, ``T2w`` or ``dwi``.
    volumes
        What to draw; figures of absent volumes are left out.
    statistics
        What harmonization measured of a T1w or T2w image.

    Returns
    -------
    list[Path]
        ``<stem>_desc-<kind>_<suffix>.svg``, and with statistics ``<stem>_desc-evidence_...json``.

    Raises
    ------
    CannotWrite
        They cannot be written.
    """
    files = {}
    qc_data = None
    if statistics is not None:
        qc_data = QCData.from_statistics(statistics)
        files[qc_data_name(stem, suffix)] = qc_data.to_json().encode()
    for kind, picture in draw_figures(f"{stem}_{suffix}", volumes, qc_data).items():
        files[figure_name(stem, kind, suffix)] = picture
    for kind in FIGURE_KINDS:  # those of an earlier run would be mistaken for this run's
        name = figure_name(stem, kind, suffix)
        if name not in files:
            remove(figures_dir / name)
    for name, data in files.items():
        write_atomic(figures_dir / name, data)
    return [figures_dir / name for name in files]


def draw_figures(
    name: str, volumes: ReportVolumes, qc_data: QCData | None = None
) -> dict[str, bytes]:
    """Return the figures of one image as SVG, by kind."""
    before, after = volumes.before, volumes.after
    brain = np.asarray(volumes.mask, dtype=bool)
    layout = plan_layout(brain, volumes.affine)
    windows = choose_windows(before, after, brain)
    same_units = windows[0] == windows[1]
    change = volumes.change
    if not same_units:  # harmonized minus original would mostly show the change of units
        change = windows[1].normalize(after) - windows[0].normalize(before)
    compared = {"before": before, "after": after}
    if volumes.reference is not None:
        compared["target"] = volumes.reference
    brain_outline = [Contour(brain.astype(np.float32), 0.5, MASK_RGB)]
    figures = {
        COMPARISON: comparison_mosaic(name, compared, layout, windows),
        FLICKER: flicker_figure(name, before, after, layout, windows),
        CHANGE_MAP: change_mosaic(
            name, after, change, brain, layout, windows[1], relative=not same_units
        ),
        BRAIN_MASK: contour_mosaic(name, "brain mask", before, brain_outline, layout, windows[0]),
    }
    if volumes.template is not None:
        outlines = [
            Contour(volumes.template, level, rgb) for level, rgb in TEMPLATE_CONTOURS_RGB.items()
        ]
        figures[TEMPLATE_ALIGNMENT] = contour_mosaic(
            name, "template brain and white matter", before, outlines, layout, windows[0]
        )
    if volumes.anisotropy is not None:
        maps = dict(zip(BEFORE_AFTER, volumes.anisotropy, strict=True))
        figures[FRACTIONAL_ANISOTROPY] = comparison_mosaic(
            f"{name} fractional anisotropy", maps, layout, (FA_WINDOW, FA_WINDOW)
        )
    figures[DENSITIES] = (
        tissue_density_chart(name, qc_data.densities)
        if qc_data is not None and set(BEFORE_AFTER) <= set(qc_data.densities)
        else intensity_chart(name, before, after, brain, same_units=same_units)
    )
    return figures


def figure_name(stem: str, kind: str, suffix: str) -> str:
    """Return the file name of a figure, a BIDS derivative name."""
    return f"{stem}_desc-{kind}_{suffix}.svg"
