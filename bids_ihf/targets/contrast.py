"""Whether the tissue contrasts of two scans agree with a single acquisition protocol."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Landmarks = NDArray[np.float64]
"""Intensities (3,) of grey matter, white matter and CSF in network units; NaN if unavailable."""

WHITE_MATTER = 1
"""Index of white matter in tissue landmarks."""

SUBJECT_LOG_CONTRAST_SD = (0.045, 0.09)
"""Standard deviation between subjects, within one vendor, of ln(grey / white) and ln(CSF / white).

Chosen between the values of the 11 training subjects in T1w (0.051, 0.120) and in T2w (0.033,
0.051), each 1.48 times the median absolute deviation."""

MAX_SUBJECT_Z = 2.0
"""Contrast deviation, in those standard deviations, that inter-subject variability may explain; a
larger one indicates another protocol."""

MIN_CSF_SIGNAL = 0.2
"""Signal of CSF, relative to white matter, below which it counts as nulled, however dark it is:
what is left is noise and partial volume, and its logarithm varies by 0.24 to 1.2 between the
training subjects in FLAIR, whose vendors' typical scans have 0.07 to 0.18."""


def same_protocol_weight(
    landmarks: Landmarks, reference: Landmarks, *, power: float = 1.0
) -> float:
    """Weight, 0 to 1, of the assumption that two scans have one protocol.

    1 while the contrast deviation is at most `MAX_SUBJECT_Z`, inversely proportional to a
    ``power`` of it beyond, and 0 where no contrast could be measured in both scans.

    >>> typical = np.array([-0.1, 0.5, -0.6])
    >>> same_protocol_weight(typical, typical)
    1.0
    >>> round(same_protocol_weight(np.array([0.4, 0.5, -0.6]), typical), 2)
    0.29
    """
    deviation = contrast_deviation(landmarks, reference)
    if not np.isfinite(deviation):
        return 0.0
    return float(min(1.0, MAX_SUBJECT_Z / max(deviation, 1e-9)) ** power)


def contrast_deviation(landmarks: Landmarks, reference: Landmarks) -> float:
    """Root mean square difference of two scans' log contrasts, in inter-subject standard
    deviations; NaN where no contrast could be measured in both."""
    z = (_log_contrasts(landmarks) - _log_contrasts(reference)) / SUBJECT_LOG_CONTRAST_SD
    z = z[np.isfinite(z)]
    return float(np.sqrt(np.mean(np.square(z)))) if z.size else float("nan")


def _log_contrasts(landmarks: Landmarks) -> NDArray[np.float64]:
    """ln(grey / white) and ln(CSF / white), (2,); NaN where a tissue is missing."""
    signal = np.where(landmarks > -1, landmarks + 1, np.nan)
    grey, csf = np.delete(signal, WHITE_MATTER) / signal[WHITE_MATTER]
    return np.log([grey, np.maximum(csf, MIN_CSF_SIGNAL)])
