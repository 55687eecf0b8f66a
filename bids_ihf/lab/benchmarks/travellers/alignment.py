"""In-plane deformable alignment of a subject's scans by two scanners.

Sessions differ by more than a rigid motion: gradient nonlinearity, distortion, and whatever a
registration left.  Local cross-correlation (Avants et al. 2008, Medical Image Analysis 12:26) does
not see contrast, so that the warp from source to truth favours no harmonization method.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_ihf.preprocessing.itk import load_ants

if TYPE_CHECKING:
    from numpy.typing import NDArray

CORRELATION_RADIUS_VOXELS = 4
"""Radius of the window of the local cross-correlation."""

ITERATIONS = (40, 20, 10)
"""Iterations at a quarter, half and full resolution."""


def estimate_warp(source: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Displacement (2, X, Y, S), voxels, from each voxel of the truth's slices (X, Y, S) to where
    the source shows the same."""
    ants = load_ants()
    fields = []
    for index in range(source.shape[2]):
        moving, fixed = (
            ants.from_numpy(np.ascontiguousarray(scan[:, :, index])) for scan in (source, truth)
        )
        with TemporaryDirectory(prefix="ihf-travel-") as folder:
            registration = ants.registration(
                fixed, moving, type_of_transform="SyNOnly", initial_transform="identity",
                syn_metric="CC", syn_sampling=CORRELATION_RADIUS_VOXELS,
                reg_iterations=ITERATIONS, outprefix=f"{folder}/", random_seed=1,
            )  # fmt: skip
            field = ants.image_read(registration["fwdtransforms"][0]).numpy()
        fields.append(np.moveaxis(field.reshape(*fixed.shape, 2), -1, 0))
    return np.stack(fields, axis=-1).astype(np.float32)


def apply_warp(data: NDArray[np.floating], warp: NDArray[np.float32]) -> NDArray[np.float32]:
    """Slices (X, Y, S) moved by a warp (2, X, Y, S), by linear interpolation; 0 outside."""
    grid = np.stack(np.meshgrid(*map(np.arange, data.shape[:2]), indexing="ij"))
    moved = [
        ndimage.map_coordinates(data[:, :, index], grid + warp[..., index], order=1)
        for index in range(data.shape[2])
    ]
    return np.stack(moved, axis=-1).astype(np.float32)
