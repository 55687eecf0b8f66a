"""Binary morphology with balls of a radius in mm, by distance transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray


def dilate(mask: NDArray[np.bool_], radius: float, zoom: float) -> NDArray[np.bool_]:
    """All within ``radius`` mm of an isotropic mask of ``zoom`` mm; an empty mask stays empty."""
    if not mask.any():
        return mask.copy()
    near: NDArray[np.bool_] = ndimage.distance_transform_edt(~mask) * zoom <= radius
    return near


def erode(mask: NDArray[np.bool_], radius: float, zoom: float) -> NDArray[np.bool_]:
    """All farther than ``radius`` mm from what is outside; the array's edge counts as outside."""
    deep: NDArray[np.bool_] = ndimage.distance_transform_edt(np.pad(mask, 1)) * zoom > radius
    return deep[1:-1, 1:-1, 1:-1]


def close(mask: NDArray[np.bool_], radius: float, zoom: float) -> NDArray[np.bool_]:
    """Fill gaps narrower than twice ``radius`` mm."""
    margin = int(np.ceil(radius / zoom)) + 1
    padded = np.pad(mask, margin)
    closed = erode(dilate(padded, radius, zoom), radius, zoom)
    return closed[margin:-margin, margin:-margin, margin:-margin]


def largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest component; an empty mask stays empty."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask.copy()
    biggest = 1 + np.bincount(labels.ravel())[1:].argmax()
    found: NDArray[np.bool_] = labels == biggest
    return found


def without_specks(mask: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """The components larger than ``share`` of the largest."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept: NDArray[np.bool_] = (sizes > share * sizes.max())[labels]
    return kept
