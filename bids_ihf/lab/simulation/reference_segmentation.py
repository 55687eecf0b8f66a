"""Reference brain masks and tissue maps of a simulated anatomy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_ihf.geometry.grid import Grid, canonical_grid, resample
from bids_ihf.lab.simulation.tissues import GREY_MATTER_TISSUES, TISSUE_INDEX
from bids_ihf.preprocessing import morphology
from bids_ihf.preprocessing.segmentation import SEGMENTATION_VOXEL_MM, Segmentation, antialias

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy

WHITE_MATTER_TISSUES = ("white", "lesion")

SULCUS_RADIUS_MM = 6.0
"""Gaps in the brain narrower than twice this radius belong to the brain mask."""

CSF_RIM_MM = 1.5
"""Thickness of the CSF around the brain that belongs to the brain mask."""


def reference_brain_mask(anatomy: Anatomy, csf_margin: int) -> NDArray[np.bool_]:
    """Brain, ventricles, and the CSF within ``csf_margin`` voxels, as in masks of real scans."""
    brain: NDArray[np.bool_] = anatomy.brain.numpy()
    csf = anatomy.fractions[TISSUE_INDEX["csf"]].numpy() > 0.5
    grown = ndimage.binary_dilation(brain, iterations=csf_margin) & (brain | csf)
    closed: NDArray[np.bool_] = ndimage.binary_closing(grown, iterations=2) | brain
    return closed


def filled_brain_mask(
    brain: NDArray[np.bool_], bone_or_air: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Brain tissue with the CSF in its sulci and a rim of CSF, without bone and air.

    Both masks (X, Y, Z) have voxels of 1 mm.
    """
    closed = morphology.close(morphology.largest_component(brain), SULCUS_RADIUS_MM, 1.0)
    rimmed = closed | morphology.dilate(brain & closed, CSF_RIM_MM, 1.0)
    filled = rimmed & ~(bone_or_air & ~brain)
    return np.asarray(ndimage.binary_fill_holes(morphology.largest_component(filled)))


def reference_segmentation(anatomy: Anatomy, brain: NDArray[np.bool_]) -> Segmentation:
    """The segmentation that an error-free method would give, with ``brain`` as the mask."""
    native = Grid(anatomy.shape, anatomy.affine)
    grid = canonical_grid(anatomy.shape, anatomy.affine, zoom=SEGMENTATION_VOXEL_MM)
    inside = brain.astype(np.float32)
    grey, white = (
        anatomy.fraction(*names) * inside for names in (GREY_MATTER_TISSUES, WHITE_MATTER_TISSUES)
    )
    fractions = [1 - inside, grey, white, np.clip(inside - grey - white, 0, 1)]
    coarse = [
        resample(antialias(fraction, native, SEGMENTATION_VOXEL_MM), native, grid)
        for fraction in fractions
    ]
    coarse[0] = 1 - np.sum(coarse[1:], axis=0)
    return Segmentation(np.stack(coarse), np.ones(grid.shape, dtype=bool), grid)
