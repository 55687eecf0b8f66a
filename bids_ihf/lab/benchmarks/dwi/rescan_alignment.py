"""Two series of one person on one grid, interpolated alike."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg, ndimage

from bids_ihf.geometry.grid import Grid, inverse_affine
from bids_ihf.preprocessing.itk import load_ants, read_affine, to_ants

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.prepare import Prepared


def rigid_map(source: Prepared, target: Prepared) -> NDArray[np.float64]:
    """Map of points (4, 4) from the target's world to the source's, RAS mm, by the mean b=0."""
    fixed, moving = (to_ants(one.corrected, one.grid.affine) for one in (target, source))
    mask = to_ants(ndimage.binary_dilation(target.mask, iterations=2), target.grid.affine)
    with TemporaryDirectory(prefix="ihf-rescans-") as folder:
        found = load_ants().registration(
            fixed, moving, type_of_transform="Rigid", mask=mask, aff_metric="GC",
            outprefix=f"{folder}/", random_seed=1,
        )  # fmt: skip
        return read_affine(Path(found["fwdtransforms"][0]))


def halfway_grid(source: Grid, target: Grid, to_source: NDArray[np.float64]) -> Grid:
    """A grid in the target's world between both grids, turned and shifted by half of what is
    between their voxels, so that the maps of both are interpolated alike.

    The target's grid where there is none, as where axes are stored in another order.
    """
    between = inverse_affine(source.affine) @ to_source @ target.affine
    half = np.real_if_close(linalg.sqrtm(between))
    if np.iscomplexobj(half):
        return target
    return Grid(target.shape, target.affine @ inverse_affine(half))
