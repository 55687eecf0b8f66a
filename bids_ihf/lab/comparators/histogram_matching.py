"""Histogram matching of the brain, by scikit-image.

Gonzalez & Woods, Digital Image Processing, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage.exposure import match_histograms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.lab.comparators.interface import MaskedImage


def harmonize(source: MaskedImage, references: Sequence[MaskedImage]) -> NDArray[np.float32]:
    """Match the histogram of the source's brain to that of all references' brains.

    Outside the intensity range of the source's brain the mapping is linear, to the darkest and
    brightest voxels of the images.
    """
    brain = source.brain
    matched = match_histograms(brain, np.concatenate([scan.brain for scan in references]))
    x, first = np.unique(brain, return_index=True)
    y = matched[first]
    if source.data.min() < x[0]:
        x = np.append(float(source.data.min()), x)
        y = np.append(min(*(float(scan.data.min()) for scan in references), y[0]), y)
    if source.data.max() > x[-1]:
        x = np.append(x, float(source.data.max()))
        y = np.append(y, max(*(float(scan.data.max()) for scan in references), y[-1]))
    return np.interp(source.data, x, y).astype(np.float32)
