"""Volumes of tissues in an image, by the product's segmentation and by Atropos."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bids_ihf.bids.names import Modality
from bids_ihf.preprocessing.itk import load_ants, removing_temporary_files, to_ants
from bids_ihf.preprocessing.segmentation import SEGMENTATION_VOXEL_MM, Segmentation

LOGGER = logging.getLogger(__name__)

SEGMENTATION_TOOL, ATROPOS_TOOL = "segmentation", "Atropos"
"""Names of the tools in the tables."""

TISSUES = ("grey matter", "white matter", "CSF")
"""Structures of both tools, in the order of the segmentation network's fractions."""

DARK_TO_BRIGHT: Mapping[Modality, tuple[str, str, str]] = {
    "T1w": ("CSF", "grey matter", "white matter"),
    "T2w": ("white matter", "grey matter", "CSF"),
    "FLAIR": ("CSF", "white matter", "grey matter"),
}
"""Tissues in the order of their intensity."""

ATROPOS_SMOOTHING, ATROPOS_ITERATIONS = 0.1, 5
"""Weight of the Markov random field, and iterations, as in antsAtroposN4.sh."""

ATROPOS_BRIGHTEST = 0.995
"""Quantile of the brain that brighter voxels are set to, as antsAtroposN4.sh does with that of the
image: otherwise a few vessels become a class of their own."""


def segmentation_volumes(segmentation: Segmentation) -> dict[str, float]:
    """Volumes (mL) of the tissues by the product's segmentation network, and of all together.

    It was trained on random contrasts, so it sees less of scanners than tools that go by
    intensity.  Empty where it finds no brain.
    """
    fractions = segmentation.tissue_fractions[1:]
    millilitres = fractions.sum(axis=(1, 2, 3), dtype=np.float64) * SEGMENTATION_VOXEL_MM**3 / 1000
    if not millilitres.sum() > 0:
        return {}
    volumes = dict(zip(TISSUES, map(float, millilitres), strict=True))
    return volumes | {"brain with CSF": float(millilitres.sum())}


def atropos_volumes(
    data: NDArray[np.float32],
    affine: NDArray[np.float64],
    mask: NDArray[np.bool_],
    modality: Modality,
) -> dict[str, float]:
    """Volumes (mL) of three classes of intensity inside a brain mask by Atropos.

    Three classes from k-means, then a Markov random field (Avants et al. 2011, Neuroinformatics
    9:381); named by the order of their mean intensities.  Empty, with a warning, where Atropos
    finds no three classes.

    Parameters
    ----------
    data, affine, mask
        Image (X, Y, Z) without bias field, its affine (4, 4), and brain mask (X, Y, Z).
    modality
        Contrast of the image, which orders the classes.
    """
    ants = load_ants()
    data = np.minimum(data, np.quantile(data[mask], ATROPOS_BRIGHTEST))
    images = to_ants(data, affine), to_ants(mask, affine)
    try:
        with removing_temporary_files():
            result = ants.atropos(
                a=images[0],
                x=images[1],
                i="kmeans[3]",
                m=f"[{ATROPOS_SMOOTHING},1x1x1]",
                c=f"[{ATROPOS_ITERATIONS},0]",
            )
    except Exception as error:  # noqa: BLE001 - antspyx raises nothing narrower
        LOGGER.warning("Atropos finds no tissues in an image: %s", error)
        return {}
    classes = result["segmentation"].numpy().astype(int)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    means = [float(data[classes == k].mean()) if (classes == k).any() else 0.0 for k in (1, 2, 3)]
    return {
        tissue: float((classes == number + 1).sum()) * voxel_ml
        for tissue, number in zip(DARK_TO_BRIGHT[modality], np.argsort(means), strict=True)
    }
