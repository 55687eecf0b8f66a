"""Tissues that share voxels, between whose intensities a curve has to be straight.

The signal of a voxel that holds two tissues is the mean of theirs by volume, on any scanner.  A
curve that is not straight between the two takes such voxels for more of one tissue, and volumes
measured afterwards change.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from bids_ihf.targets.contrast import Landmarks

GREY_WHITE_SD = 0.01
"""Standard deviation, network units, of the target's intensity of a voxel of grey and white matter
about the mean of its tissues'."""

BRIGHT_CSF_SD, DARK_CSF_SD = 0.005, 0.05
"""The same of a voxel of CSF and another tissue, where CSF is the brightest (T2w), and where it is
the darkest and grey matter the brightest (FLAIR).  These and GREY_WHITE_SD: docs/method.md."""


@frozen
class TissuePair:
    """Two tissues that share voxels.

    ``intensities`` are those of voxels that hold one of them alone, ``sd`` is the standard
    deviation of a mixed voxel's intensity in the target about the mean of theirs, network units.
    """

    intensities: tuple[float, float]
    sd: float


def tissue_pairs(landmarks: Landmarks) -> list[TissuePair]:
    """The pairs of tissues of a scan with these landmarks, as far as they are known.

    CSF shares voxels with the tissue nearest to it in intensity.  Where white matter is the
    brightest (T1w) that pair does not count: what is found of CSF there are mixed voxels
    themselves.

    >>> [pair.intensities for pair in tissue_pairs(np.array([0.3, 0.6, -0.5]))]
    [(0.3, 0.6)]
    >>> [pair.intensities for pair in tissue_pairs(np.array([0.0, -0.2, 0.8]))]
    [(0.0, -0.2), (0.0, 0.8)]
    """
    grey, white, csf = (float(value) for value in landmarks)
    pairs = [TissuePair((grey, white), GREY_WHITE_SD)]
    if csf > max(grey, white):
        pairs.append(TissuePair((max(grey, white), csf), BRIGHT_CSF_SD))
    elif csf < white <= grey:
        pairs.append(TissuePair((white, csf), DARK_CSF_SD))
    return [pair for pair in pairs if np.isfinite(pair.intensities).all()]
