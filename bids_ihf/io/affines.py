"""Affines of voxel grids: voxel sizes and corners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def voxel_sizes(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voxel size (3,) along each axis, in the units of the affine (4, 4).

    >>> voxel_sizes(np.diag([1.0, 1.0, 2.5, 1.0]))
    array([1. , 1. , 2.5])
    """
    return np.asarray(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))


def corner_points(shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """World coordinates (3, 8), RAS mm, of the centres of a grid's eight corner voxels."""
    voxels = np.array(np.meshgrid(*[(0, size - 1) for size in shape[:3]])).reshape(3, -1)
    return np.asarray(affine[:3, :3] @ voxels + affine[:3, 3:], dtype=np.float64)
