"""The intensity range in which the segmentation sees an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def unit_range(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """0 to 1: what is above the 99.5th percentile of the signal, or below zero, is cut off."""
    lit = data[data > 0]
    top = np.percentile(lit, 99.5) if lit.size else 1.0
    return np.clip(data / np.float32(top), 0, 1)
