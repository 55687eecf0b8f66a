from __future__ import annotations

import numpy as np

from bids_ihf.spatial.segment import Segmentation
from bids_ihf.volume.grid import Grid


def nothing_seen(data: np.ndarray, affine: np.ndarray) -> Segmentation:
    """A segmentation without brain."""
    x, y, z = data.shape
    shares = np.zeros((4, x, y, z), dtype=np.float32)
    shares[0] = 1
    return Segmentation(shares, np.ones((x, y, z), dtype=bool), Grid((x, y, z), affine))
