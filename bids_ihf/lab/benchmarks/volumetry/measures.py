"""Volumes of a structure with a known region, by two ways of telling tissues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.lab.benchmarks.metrics.tissues import Tissue, classify
from bids_ihf.preprocessing.segmentation import segment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SEGMENTATION_TOOL, MIXTURE_TOOL = "segmentation", "Gaussian mixture"
TOOL_LEVELS = {
    SEGMENTATION_TOOL: "The product's segmentation network: it was trained on random contrasts",
    MIXTURE_TOOL: "Three Gaussians fitted to the intensities of the brain, a tool that goes by "
    "intensity alone",
}
"""How tissues are told, by the name in the tables."""

TISSUE_NUMBERS = {"grey matter": Tissue.GREY, "white matter": Tissue.WHITE, "CSF": Tissue.CSF}


def volumes_in_regions(
    data: NDArray[np.float32],
    affine: NDArray[np.float64],
    brain: NDArray[np.bool_],
    regions: Mapping[str, NDArray[np.bool_]],
    tissues: Mapping[str, str],
) -> dict[str, dict[str, float]]:
    """Volume (mL) of a structure's tissue in its region, by tool and structure.

    Parameters
    ----------
    data, affine, brain
        A T1w image (X, Y, Z), its affine (4, 4), and its brain mask.
    regions, tissues
        Region (X, Y, Z) of each structure, and the tissue that it consists of.
    """
    segmentation = segment(data, affine)
    classes = np.full(data.shape, -1, dtype=np.intp)
    classes[brain] = classify(data[brain], "T1w")
    native = Grid(data.shape, affine)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    volumes: dict[str, dict[str, float]] = {SEGMENTATION_TOOL: {}, MIXTURE_TOOL: {}}
    for name, region in regions.items():
        number = TISSUE_NUMBERS[tissues[name]]
        fraction = segmentation.tissue_fractions[1 + number]
        on_native = resample(fraction, segmentation.grid, native, order=1)
        volumes[SEGMENTATION_TOOL][name] = float(on_native[region].sum()) * voxel_ml
        volumes[MIXTURE_TOOL][name] = float((classes[region] == number).sum()) * voxel_ml
    return volumes
