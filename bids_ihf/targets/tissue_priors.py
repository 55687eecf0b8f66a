"""Where the tissues of a scan are, whatever its contrast, and whether that contrast is FLAIR's.

The encoder's tissue read-out was trained on T1w and T2w images.  Here tissues come from the
segmentation of the scan, whose network was trained on any contrast, or, where a scan is too thin
to be segmented, from the registered template.
"""

from __future__ import annotations

import logging
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.geometry.grid import Grid, inverse_affine, resample
from bids_ihf.geometry.template import load_template
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.preprocessing.segmentation import SEGMENTATION_VOXEL_MM, Segmentation
from bids_ihf.targets.intensity import PRIOR_POWER, weighted_median

LOGGER = logging.getLogger(__name__)

TEMPLATE_SMOOTHING_MM = 4.0
"""Standard deviation, mm, by which tissues of the template are smoothed: about the distance of
gyri from theirs in the template after rigid registration."""

MAX_FLAIR_CSF_RATIO = 0.9
"""Signal of CSF over that of grey and of white matter below which CSF is dark, as in FLAIR."""

MIN_FLAIR_GREY_RATIO = 0.9
"""Grey over white matter signal below which dark CSF is that of a T1-weighted image."""

MIN_TISSUE_VOXELS = 5
"""Voxels of 2 mm, in sum of fractions, that a tissue needs for its median signal."""


def tissue_priors(prepared: Prepared, grid: Grid) -> NDArray[np.float32]:
    """Fractions of grey matter, white matter and CSF (3, X, Y, Z) on a grid in template space."""
    return _priors(prepared.segment(), prepared, grid)


def _priors(
    segmentation: Segmentation | None, prepared: Prepared, grid: Grid
) -> NDArray[np.float32]:
    if segmentation is not None and segmentation.brain.any():
        fractions, source = segmentation.tissue_fractions[1:], segmentation.grid
        to_source = inverse_affine(prepared.to_template)
    else:
        fractions, source, to_source = _smooth_template(), load_template().grid, np.eye(4)
    return np.stack(
        [resample(tissue, source, grid, target_to_source=to_source) for tissue in fractions]
    )


@lru_cache(maxsize=1)
def _smooth_template() -> NDArray[np.float32]:
    tissues = load_template().tissues
    sigma = (0, *3 * [TEMPLATE_SMOOTHING_MM])
    return np.asarray(ndimage.gaussian_filter(tissues, sigma), dtype=np.float32)


def contrast_by_tissues(prepared: Prepared) -> str | None:
    """``FLAIR`` where CSF is darker than grey and white matter, and grey matter is not much
    darker than white; None for any other contrast, or where too little of a tissue is visible.

    A scan that was not segmented, such as a preprocessed one, is compared with the template.
    """
    grid = Grid(prepared.grid.shape, prepared.to_template @ prepared.grid.affine)
    steps = np.maximum(np.round(SEGMENTATION_VOXEL_MM / grid.zooms), 1).astype(int)
    every = tuple(slice(None, None, step) for step in steps)
    affine = grid.affine @ np.diag([*steps, 1.0])
    mask = prepared.mask[every]
    priors = _priors(prepared.segmentation, prepared, Grid(mask.shape, affine))
    intensities = prepared.corrected[every]
    weights = priors[:, mask] ** PRIOR_POWER
    if weights.sum(axis=1).min() < MIN_TISSUE_VOXELS:
        return None
    grey, white, csf = (weighted_median(intensities[mask], tissue) for tissue in weights)
    is_flair = csf < MAX_FLAIR_CSF_RATIO * min(grey, white) and grey > MIN_FLAIR_GREY_RATIO * white
    return "FLAIR" if is_flair else None


def modality_by_contrast(modality: str, prepared: Prepared) -> str:
    """The modality of a scan; of one that is named T2w ``FLAIR`` where its CSF is dark."""
    if modality != "T2w" or contrast_by_tissues(prepared) is None:
        return modality
    LOGGER.warning(
        "%s: its name says T2w, but its CSF is dark as in FLAIR; it counts as FLAIR and keeps its "
        "name.", prepared.volume.path.name,
    )  # fmt: skip
    return "FLAIR"
