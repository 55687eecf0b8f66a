"""Binary morphology with balls of a radius in mm, on isotropic voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.morphology import isotropic_closing, isotropic_dilation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def dilate(mask: NDArray[np.bool_], radius_mm: float, zoom: float) -> NDArray[np.bool_]:
    """Dilate a mask with voxels of `zoom` mm."""
    if not mask.any():  # no distance to nothing
        return mask.copy()
    return np.asarray(isotropic_dilation(mask, radius_mm, spacing=zoom))


def close(mask: NDArray[np.bool_], radius_mm: float, zoom: float) -> NDArray[np.bool_]:
    """Fill gaps narrower than twice the radius; the mask may touch the array's edge."""
    if not mask.any():
        return mask.copy()
    margin = int(np.ceil(radius_mm / zoom)) + 1
    closed = isotropic_closing(np.pad(mask, margin), radius_mm, spacing=zoom)
    return np.asarray(closed[margin:-margin, margin:-margin, margin:-margin])


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
