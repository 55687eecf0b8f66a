"""Images in template space, on request; the native output never comes from here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bids_ihf.geometry.grid import Grid, canonical_grid, inverse_affine, resample
from bids_ihf.geometry.template import load_template
from bids_ihf.preprocessing import morphology
from bids_ihf.preprocessing.alignment import (
    BRAIN_MARGIN_MM,
    align,
    template_tissue_map,
    tissue_map,
)
from bids_ihf.preprocessing.itk import load_ants, pointer, run_registration, to_ants, write_affine
from bids_ihf.preprocessing.segmentation import antialias

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.prepare import Prepared

Normalization = Literal["rigid", "affine", "syn"]

WARP_VOXEL_MM = 2.0
"""Voxel size (mm) of the grid on which the warp is found."""

SYN_ITERATIONS = "40x20x10"
"""SyN iterations at 8, 4 and 2 mm."""


def template_image(
    data: NDArray[np.float32], prepared: Prepared, kind: Normalization
) -> NDArray[np.float32]:
    """``data`` (X, Y, Z) of a prepared scan on the template's grid, by one cubic interpolation.

    ``rigid`` goes by the scan's way to the template, ``affine`` finds scales and shears besides,
    ``syn`` a diffeomorphism on top (Avants et al. 2008), with mutual information.  Cubic overshoot
    is cut at the range of the scan.
    """
    template = load_template()
    back = inverse_affine(prepared.to_template)
    if kind != "rigid":
        found = align(tissue_map(prepared.segmentation), template_tissue_map(), kind="affine")
        back = inverse_affine(found.matrix)
    if kind == "syn":
        out = _warped(data, prepared.grid, prepared.mask, back)
    else:
        out = resample(data, prepared.grid, template.grid, target_to_source=back, order=3)
    return np.clip(out, min(float(data.min()), 0.0), data.max())


def _warped(
    data: NDArray[np.float32],
    native: Grid,
    mask: NDArray[np.bool_],
    back: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Resampled through the affine map ``back`` (template to scan) and a warp found on it."""
    template = load_template()
    grid = canonical_grid(template.image.shape, template.grid.affine, zoom=WARP_VOXEL_MM)
    fixed = resample(antialias(template.image, template.grid, WARP_VOXEL_MM), template.grid, grid)
    brain = antialias(np.where(mask, data, np.float32(0)), native, WARP_VOXEL_MM)
    moving = resample(brain, native, grid, target_to_source=back)
    near = morphology.dilate(fixed > 0.05, BRAIN_MARGIN_MM, WARP_VOXEL_MM)
    with tempfile.TemporaryDirectory(prefix="ihf-warp-") as folder:
        path = Path(folder)
        warp = _find_warp(
            to_ants(fixed, grid.affine),
            to_ants(moving, grid.affine),
            to_ants(near, grid.affine),
            path,
        )
        linear = path / "affine.mat"
        write_affine(linear, back)
        out = load_ants().apply_transforms(
            to_ants(template.image, template.grid.affine),
            to_ants(data, native.affine),
            [str(warp), str(linear)],
            interpolator="bSpline",
        )
    return np.asarray(out.numpy(), dtype=np.float32)


def _find_warp(fixed: Any, moving: Any, near: Any, folder: Path) -> Path:
    """The file of the displacements that bring ``moving`` to ``fixed``."""
    arguments = [
        "--metric", f"MI[{pointer(fixed)},{pointer(moving)},1,32]",
        "--transform", "SyN[0.2,3,0]",
        "--convergence", f"[{SYN_ITERATIONS},1e-6,6]",
        "--shrink-factors", "4x2x1",
        "--smoothing-sigmas", "2x1x0",
        "--masks", f"[{pointer(near)},NA]",
        "--output", str(folder / "out"),
    ]  # fmt: skip
    run_registration(arguments)
    return folder / "out0Warp.nii.gz"
