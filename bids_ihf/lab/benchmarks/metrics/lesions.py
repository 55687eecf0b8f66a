"""Contrast of white-matter lesions after harmonization relative to before.

Arrays are (X, Y, S) on a 1 mm grid; each slice of the third axis is measured by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

RING_GAP_VOXELS = 1
"""Distance of a lesion from the white matter it is compared with, to avoid partial volumes."""

RING_WIDTH_VOXELS = 3
"""Width of the ring of white matter around a lesion."""

MIN_LESION_VOXELS = 20
"""Size of a lesion, and of the ring around it, for it to be measured individually."""

IN_PLANE_CROSS: NDArray[np.bool_] = np.pad(
    ndimage.generate_binary_structure(2, 1)[:, :, None], ((0, 0), (0, 0), (1, 1))
)
"""A voxel and its four neighbours within the slice, (3, 3, 3)."""


@frozen
class LesionRetention:
    """Lesion contrast after over before: 1 if it is preserved, 0 if it is lost.

    Attributes
    ----------
    overall
        Of all lesion voxels together.
    worst
        Of the lesion with the smallest ratio, among those of MIN_LESION_VOXELS or more; NaN if
        there is none.
    """

    overall: float
    worst: float


def lesion_retention(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    lesion: NDArray[np.bool_],
    white: NDArray[np.bool_],
    grey: NDArray[np.bool_],
) -> LesionRetention:
    """Contrast of lesions to the surrounding white matter, after over before.

    It is normalized by the contrast of grey to white matter, so that a change of global contrast
    does not count as a lost lesion.

    Parameters
    ----------
    before, after
        The scan, (X, Y, S).
    lesion
        Lesion mask.
    white, grey
        Voxels that hold one tissue alone.

    Raises
    ------
    ValueError
        There is no lesion, no white matter around it, or no grey matter.
    """
    if not grey.any():
        raise ValueError("no grey matter")
    labels, count = ndimage.label(lesion, IN_PLANE_CROSS)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    masks = [lesion, *(labels == k for k in range(1, count + 1) if sizes[k] >= MIN_LESION_VOXELS)]
    ratios = []
    for number, mask in enumerate(masks):
        ring = _ring(mask, white & ~lesion)
        if number and ring.sum() < MIN_LESION_VOXELS:
            continue
        old, new = (_contrast(image, mask, ring, white, grey) for image in (before, after))
        ratios.append(new / old)
    return LesionRetention(ratios[0], min(ratios[1:], default=float("nan")))


def _contrast(
    image: NDArray[np.floating],
    lesion: NDArray[np.bool_],
    ring: NDArray[np.bool_],
    white: NDArray[np.bool_],
    grey: NDArray[np.bool_],
) -> float:
    """Lesion minus ring, over grey minus white matter."""
    if not lesion.any() or not ring.any():
        raise ValueError("no lesion, or no white matter around it")
    means = [image[mask].mean(dtype=np.float64) for mask in (lesion, ring, grey, white)]
    return float((means[0] - means[1]) / (means[2] - means[3]))


def _ring(lesion: NDArray[np.bool_], white: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """White matter around a lesion, beyond the gap."""
    near = ndimage.binary_dilation(lesion, IN_PLANE_CROSS, iterations=RING_GAP_VOXELS)
    far = ndimage.binary_dilation(near, IN_PLANE_CROSS, iterations=RING_WIDTH_VOXELS)
    return np.asarray(far & ~near & white)
