"""2.5D: axial slices with their two neighbours as channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def slice_stack(data: NDArray[np.float32], indices: Sequence[int]) -> NDArray[np.float32]:
    """Slices of the last axis of (X, Y, Z) as (len(indices), 3, X, Y); ends repeat themselves."""
    centre = np.asarray(indices, dtype=np.intp)
    neighbours = np.clip(centre[:, None] + np.array([-1, 0, 1]), 0, data.shape[2] - 1)
    return np.ascontiguousarray(np.moveaxis(data[:, :, neighbours], (2, 3), (0, 1)))
