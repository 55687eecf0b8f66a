"""2.5D stacks: axial slices with their two neighbours as channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def slice_stack(data: NDArray[np.float32], indices: Sequence[int]) -> NDArray[np.float32]:
    """Slices of the last axis of `data` (X, Y, Z) with their neighbours, (N, 3, X, Y).

    Beyond the first and the last slice these are repeated.

    >>> slice_stack(np.arange(4, dtype=np.float32).reshape(1, 1, 4), [0, 2])[:, :, 0, 0]
    array([[0., 0., 1.],
           [1., 2., 3.]], dtype=float32)
    """
    centres = np.asarray(indices, dtype=np.intp)
    neighbours = np.clip(centres[:, None] + np.array([-1, 0, 1]), 0, data.shape[2] - 1)
    return np.ascontiguousarray(np.moveaxis(data[:, :, neighbours], (2, 3), (0, 1)))
