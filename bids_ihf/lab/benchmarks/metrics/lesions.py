"""Whether lesions of white matter keep their contrast.  Arrays are (X, Y, Z) on a 1 mm grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAP = 1
"""Voxels between a lesion and its ring, where both mix."""

LEAST_VOXELS = 20
"""Size of a lesion that is judged on its own."""


@frozen
class LesionContrast:
    """Mean of a lesion minus mean of the white matter round it.

    ``relative`` is over that white matter's mean, ``cnr`` over its standard deviation.
    """

    relative: float
    cnr: float


@frozen
class LesionsKept:
    """Contrast of lesions after over before; 1 is kept, 0 is lost.

    ``overall`` takes all lesions together; ``least`` is the one that lost most, of those of
    LEAST_VOXELS at least (NaN where none is that large).
    """

    overall: float
    least: float


def lesion_contrast(
    image: NDArray[np.floating],
    lesion: NDArray[np.bool_],
    white: NDArray[np.bool_],
    ring: int = 3,
    *,
    in_plane: bool = False,
) -> LesionContrast:
    """Contrast of ``lesion`` to the ``white`` matter within ``ring`` voxels of it.

    ``in_plane`` keeps to the slices of the third axis, which then need not be neighbours.

    Raises
    ------
    ValueError
        There is no lesion, or no white matter round it.
    """
    around = image[_ring(lesion, white, ring, in_plane=in_plane)].astype(np.float64)
    if not lesion.any() or around.size < 2:
        raise ValueError("no lesion, or no white matter round it")
    difference = float(image[lesion].mean(dtype=np.float64) - around.mean())
    return LesionContrast(difference / float(around.mean()), difference / float(around.std()))


def lesion_kept(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    lesion: NDArray[np.bool_],
    white: NDArray[np.bool_],
    grey: NDArray[np.bool_],
    ring: int = 3,
    *,
    in_plane: bool = False,
) -> LesionsKept:
    """Lesion contrast after over before, each over the contrast of grey to white matter.

    The latter is the measure, so that a change of the whole image's contrast counts as no lost
    lesion.  ``white`` and ``grey`` are voxels of one tissue alone.

    Raises
    ------
    ValueError
        There is no lesion, no white matter round it, or no grey matter.
    """
    if not grey.any():
        raise ValueError("no grey matter")
    parts, count = ndimage.label(lesion, neighbours(in_plane=in_plane))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    ratios = []
    for number in (0, *(np.flatnonzero(sizes[1:] >= LEAST_VOXELS) + 1)):
        chosen = lesion if number == 0 else parts == number
        around = _ring(chosen, white & ~lesion, ring, in_plane=in_plane)
        if number and around.sum() < LEAST_VOXELS:
            continue
        old, new = (_contrast(image, chosen, around, white, grey) for image in (before, after))
        ratios.append(new / old)
    return LesionsKept(ratios[0], min(ratios[1:], default=float("nan")))


def _contrast(
    image: NDArray[np.floating],
    lesion: NDArray[np.bool_],
    around: NDArray[np.bool_],
    white: NDArray[np.bool_],
    grey: NDArray[np.bool_],
) -> float:
    """Lesion to the white matter round it, over grey to all white matter."""
    if not lesion.any() or not around.any():
        raise ValueError("no lesion, or no white matter round it")
    means = [image[part].mean(dtype=np.float64) for part in (lesion, around, grey, white)]
    return float((means[0] - means[1]) / (means[2] - means[3]))


def neighbours(*, in_plane: bool) -> NDArray[np.bool_]:
    """A voxel (3, 3, 3) and those that share a face with it, only of its own slice if asked."""
    found: NDArray[np.bool_] = ndimage.generate_binary_structure(3, 1)
    if in_plane:
        found[:, :, [0, 2]] = False
    return found


def _ring(
    lesion: NDArray[np.bool_], white: NDArray[np.bool_], ring: int, *, in_plane: bool
) -> NDArray[np.bool_]:
    """White matter within ``ring`` voxels of a lesion's surroundings, a GAP left out."""
    shape = neighbours(in_plane=in_plane)
    near = ndimage.binary_dilation(lesion, shape, iterations=GAP)
    far = ndimage.binary_dilation(near, shape, iterations=ring)
    found: NDArray[np.bool_] = far & ~near & white
    return found
