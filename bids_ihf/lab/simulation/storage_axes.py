"""The order and direction in which a vendor stores the axes of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from nibabel import orientations

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


def to_storage_axes(
    data: NDArray[T], affine: NDArray[np.float64], axes: str
) -> tuple[NDArray[T], NDArray[np.float64]]:
    """Flip and permute a RAS array (X, Y, Z) to other axis codes; nothing is interpolated.

    >>> stored, affine = to_storage_axes(np.zeros((2, 3, 4)), np.eye(4), "PSR")
    >>> stored.shape
    (3, 4, 2)
    """
    change = orientations.ornt_transform(
        orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(axes)
    )
    stored = np.ascontiguousarray(orientations.apply_orientation(data, change))
    return stored, affine @ orientations.inv_ornt_aff(change, data.shape)
