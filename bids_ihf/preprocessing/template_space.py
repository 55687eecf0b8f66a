"""Images in template space, on request; the native output never comes from here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.geometry.grid import Grid, canonical_grid, inverse_affine, resample
from bids_ihf.geometry.template import load_template
from bids_ihf.preprocessing import morphology
from bids_ihf.preprocessing.alignment import align
from bids_ihf.preprocessing.itk import load_ants, pointer, run_registration, to_ants, write_affine
from bids_ihf.preprocessing.segmentation import antialias
from bids_ihf.preprocessing.tissue_map import BRAIN_MARGIN_MM, template_tissue_map, tissue_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.config import Normalization
    from bids_ihf.preprocessing.prepare import Prepared

WARP_VOXEL_MM = 2.0
"""Voxel size of the grid on which the warp is estimated, mm."""

MIN_TEMPLATE_BRAIN = 0.05
"""Template intensity, of 0 to 1, above which a voxel belongs to the region that is registered."""

SYN_ITERATIONS = "40x20x10"
"""SyN iterations at 8, 4 and 2 mm."""


def template_image(
    data: NDArray[np.float32], prepared: Prepared, normalization: Normalization
) -> NDArray[np.float32]:
    """Resample an image of a prepared scan to the template's grid, by one cubic interpolation.

    Parameters
    ----------
    data
        Image on the scan's grid, (X, Y, Z).
    prepared
        The scan.
    normalization
        "rigid" uses the scan's transform; "affine" estimates scales and shears in addition, "syn"
        also a diffeomorphism (Avants et al. 2008) by mutual information.

    Returns
    -------
    image
        On the template's grid; cubic overshoot is clipped to the range of `data`.
    """
    template = load_template()
    to_scan = inverse_affine(prepared.to_template)
    if normalization != "rigid":
        moving = tissue_map(prepared.segment())
        to_scan = inverse_affine(align(moving, template_tissue_map(), transform="affine").matrix)
    if normalization == "syn":
        out = _warp(data, prepared.grid, prepared.mask, to_scan)
    else:
        out = resample(data, prepared.grid, template.grid, target_to_source=to_scan, order=3)
    return np.clip(out, min(float(data.min()), 0.0), data.max())


def _warp(
    data: NDArray[np.float32],
    native: Grid,
    mask: NDArray[np.bool_],
    to_scan: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Resample through an affine map (template to scan) and a SyN warp estimated after it."""
    template = load_template()
    grid = canonical_grid(template.image.shape, template.grid.affine, zoom=WARP_VOXEL_MM)
    fixed = resample(antialias(template.image, template.grid, WARP_VOXEL_MM), template.grid, grid)
    brain = antialias(np.where(mask, data, np.float32(0)), native, WARP_VOXEL_MM)
    moving = resample(brain, native, grid, target_to_source=to_scan)
    region = morphology.dilate(fixed > MIN_TEMPLATE_BRAIN, BRAIN_MARGIN_MM, WARP_VOXEL_MM)
    ants_fixed, ants_moving, ants_region = (
        to_ants(array, grid.affine) for array in (fixed, moving, region)
    )
    with tempfile.TemporaryDirectory(prefix="ihf-warp-") as name:
        folder = Path(name)
        run_registration([
            "--metric", f"MI[{pointer(ants_fixed)},{pointer(ants_moving)},1,32]",
            "--transform", "SyN[0.2,3,0]",
            "--convergence", f"[{SYN_ITERATIONS},1e-6,6]",
            "--shrink-factors", "4x2x1",
            "--smoothing-sigmas", "2x1x0",
            "--masks", f"[{pointer(ants_region)},NA]",
            "--output", str(folder / "out"),
        ])  # fmt: skip
        write_affine(folder / "affine.mat", to_scan)
        out = load_ants().apply_transforms(
            to_ants(template.image, template.grid.affine),
            to_ants(data, native.affine),
            [str(folder / "out0Warp.nii.gz"), str(folder / "affine.mat")],
            interpolator="bSpline",
        )
    return np.asarray(out.numpy(), dtype=np.float32)
