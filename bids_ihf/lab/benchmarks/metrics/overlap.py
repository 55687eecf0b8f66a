"""How well a brain mask and a tissue map agree with the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray


def dice(first: NDArray[np.floating | np.bool_], second: NDArray[np.floating | np.bool_]) -> float:
    """Overlap of two masks or share maps, 2 sum(min(a, b)) / (sum(a) + sum(b)); 1 if both are
    empty."""
    total = float(first.sum()) + float(second.sum())
    return 2 * float(np.minimum(first, second).sum()) / total if total else 1.0


def surface_distance(
    first: NDArray[np.bool_], second: NDArray[np.bool_], zooms: NDArray[np.float64]
) -> float:
    """95th percentile (mm) of the distances from each mask's surface to the other's, both ways.

    NaN where a mask is empty.
    """
    if not (first.any() and second.any()):
        return float("nan")
    either = ndimage.find_objects((first | second).astype(np.uint8))[0]
    box = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in either)
    edges = [mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (first, second)]
    away = [ndimage.distance_transform_edt(~edge, sampling=zooms) for edge in edges]
    return float(np.percentile(np.concatenate([away[1][edges[0]], away[0][edges[1]]]), 95))
