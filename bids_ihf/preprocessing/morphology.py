"""Binary morphology with balls of a radius in mm, on isotropic voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING_TOLERANCE = 1e-6
"""Of a radius, voxels."""


def dilate(mask: NDArray[np.bool_], radius_mm: float, zoom: float) -> NDArray[np.bool_]:
    """Dilate a mask with voxels of `zoom` mm."""
    return _dilate(mask, radius_mm / zoom)


def close(mask: NDArray[np.bool_], radius_mm: float, zoom: float) -> NDArray[np.bool_]:
    """Fill gaps narrower than twice the radius; the mask may touch the array's edge."""
    margin = int(np.ceil(radius_mm / zoom)) + 1
    dilated = _dilate(np.pad(mask, margin), radius_mm / zoom)
    closed = ~_dilate(~dilated, radius_mm / zoom)
    return closed[margin:-margin, margin:-margin, margin:-margin]


def _dilate(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Voxels within a radius (voxels) of a mask, to the voxel as by `scipy.ndimage`'s distance
    transform, in a fraction of its time: squared distances are minimized axis by axis, no farther
    than the radius."""
    limit = (radius + ROUNDING_TOLERANCE) ** 2
    reach, far = int(np.sqrt(limit)), int(limit) + 1
    distance: NDArray[Any] = np.where(mask, 0, far).astype(np.uint8 if 2 * far < 256 else np.int32)
    for axis in range(mask.ndim):
        before = np.moveaxis(distance, axis, 0)
        after = before.copy()
        for step in range(1, min(reach, len(before) - 1) + 1):
            np.minimum(after[step:], before[:-step] + step**2, out=after[step:])
            np.minimum(after[:-step], before[step:] + step**2, out=after[:-step])
        distance = np.moveaxis(after, 0, axis)
    return np.asarray(distance <= limit)


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest face-connected component; an empty mask stays empty."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask.copy()
    return np.asarray(labels == 1 + np.bincount(labels.ravel())[1:].argmax())


def remove_small_components(mask: NDArray[np.bool_], fraction: float) -> NDArray[np.bool_]:
    """Keep the components with more voxels than `fraction` of the largest one's."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes > fraction * sizes.max())[labels])
