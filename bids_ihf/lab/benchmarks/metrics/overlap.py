"""Agreement of a brain mask or a tissue map with the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray


def dice(first: NDArray[np.floating | np.bool_], second: NDArray[np.floating | np.bool_]) -> float:
    """Dice coefficient of two masks or maps of tissue fractions; 1 if both are empty.

    2 sum(min(a, b)) / (sum(a) + sum(b)), which for masks is that of Dice (1945, Ecology 26:297).

    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    total = float(first.sum()) + float(second.sum())
    return 2 * float(np.minimum(first, second).sum()) / total if total else 1.0


def surface_distance(
    first: NDArray[np.bool_], second: NDArray[np.bool_], zooms: NDArray[np.float64]
) -> float:
    """95th percentile of the distances between the surfaces of two masks, in both directions.

    Parameters
    ----------
    first, second
        (X, Y, Z).
    zooms
        Voxel size (3,), mm.

    Returns
    -------
    float
        In mm; NaN if a mask is empty.
    """
    if not (first.any() and second.any()):
        return float("nan")
    bounds = ndimage.find_objects((first | second).astype(np.uint8))[0]
    box = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in bounds)
    surfaces = [mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (first, second)]
    distances = [ndimage.distance_transform_edt(~surface, sampling=zooms) for surface in surfaces]
    between = [distances[1][surfaces[0]], distances[0][surfaces[1]]]
    return float(np.percentile(np.concatenate(between), 95))
