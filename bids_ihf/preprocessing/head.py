"""Where the head ends and the air begins, as a smooth weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_ihf.preprocessing.brain_mask import head_mask
from bids_ihf.preprocessing.intensities import has_bright_air

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.prepare import Prepared


HEAD_FEATHER_VOXELS = 1.5
"""Width (voxels) over which the change fades from the head into the air around it."""


def head_weight(prepared: Prepared) -> NDArray[np.float32]:
    """Weight (X, Y, Z): 1 in the head, 0 in the air, smooth between.

    Voxels that are exactly zero (skull-stripped or defaced) always get 0.  Where noise in the air
    is as bright as the head, the brain mask is all that is known of the head.
    """
    original = prepared.volume.data
    signal = (original != 0).astype(np.float32)
    if prepared.stripped:
        return signal
    shown = np.where(prepared.mask, original, 0) if has_bright_air(original) else original
    head = head_mask(shown, prepared.volume.affine) | prepared.mask
    grown = ndimage.binary_dilation(head, iterations=2)
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(
        grown.astype(np.float32), HEAD_FEATHER_VOXELS
    )
    weight = np.where(head, np.float32(1), smooth)
    return np.where(weight > 0.01, weight, np.float32(0)) * signal
