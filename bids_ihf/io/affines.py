"""What an affine says of a grid of voxels, without a library of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def corner_points(shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """World coordinates (3, 8), RAS mm, of the centres of a grid's eight corner voxels."""
    voxels = np.array(np.meshgrid(*[(0, size - 1) for size in shape[:3]])).reshape(3, -1)
    return np.asarray(affine[:3, :3] @ voxels + affine[:3, 3:], dtype=np.float64)


def voxel_sizes(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voxel size (3,) along each axis of an affine (4, 4), mm.

    As nibabel's function, which machines that only train need not have.
    """
    return np.asarray(np.sqrt(np.square(affine[:3, :3]).sum(axis=0)))
