"""Histogram matching of the brain, by scikit-image: what a harmonization has to beat.

Gonzalez & Woods, Digital Image Processing, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.exposure import match_histograms


def match_brain(
    data: NDArray[np.floating],
    mask: NDArray[np.bool_],
    reference: NDArray[np.floating],
    limits: tuple[float, float],
) -> NDArray[np.float32]:
    """Match the histogram of an image's brain to intensities of other brains.

    Parameters
    ----------
    data, mask
        Image and its brain mask, of one shape.
    reference
        Intensities inside the brains of the references, (N,).
    limits
        Darkest and brightest intensity of the references, air and skull included: outside the
        intensity range of the image's brain the mapping is linear, to these.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty")
    brain = data[mask].astype(np.float64)
    matched = match_histograms(brain, reference)
    x, first = np.unique(brain, return_index=True)
    y = matched[first]
    if data.min() < x[0]:
        x, y = np.append(float(data.min()), x), np.append(min(limits[0], y[0]), y)
    if data.max() > x[-1]:
        x, y = np.append(x, float(data.max())), np.append(y, max(limits[1], y[-1]))
    return np.interp(data, x, y).astype(np.float32)


def pool_brains(
    brains: Sequence[NDArray[np.floating]], limits: Sequence[tuple[float, float]]
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Intensities of several references, and the darkest and brightest of them, after all brains
    were given one median: units may differ from scan to scan.

    Parameters
    ----------
    brains
        Intensities (N,) inside the brain of each reference.
    limits
        Darkest and brightest intensity of each.
    """
    medians = np.array([np.median(brain) for brain in brains])
    units = np.divide(np.median(medians), medians, out=np.ones_like(medians), where=medians > 0)
    values = [unit * brain for unit, brain in zip(units, brains, strict=True)]
    ranges = units[:, None] * np.array(limits)
    return np.concatenate(values), (float(ranges[:, 0].min()), float(ranges[:, 1].max()))
