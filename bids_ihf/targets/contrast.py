"""Whether two scans differ in contrast by no more than people do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHITE_MATTER = 1
"""Row of white matter among landmarks."""

SUBJECT_LOG_CONTRAST_SD = (0.045, 0.09)
"""Standard deviations between people, by a vendor's scanners, of the logarithms of grey matter and
fluid over white matter: between those of the training's 11 people in T1w (0.051, 0.120) and in T2w
(0.033, 0.051), which are 1.48 median absolute deviations."""

MAX_SUBJECT_Z = 2.0
"""Deviation, in those standard deviations, up to which the person may be its reason; what is
beyond is another protocol's."""


def same_protocol_weight(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How far two scans, by their landmarks (3,) in network units, may be of one protocol.

    1 while they deviate by LITTLE or less, less as their contrasts leave the span of people, 0
    where no contrast is known of both.
    """
    apart = contrast_deviation(one, other)
    return min(1.0, MAX_SUBJECT_Z / max(apart, 1e-9)) if np.isfinite(apart) else 0.0


def contrast_deviation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How far the contrasts of two scans are apart, root mean square, in standard deviations
    between people; NaN where no contrast is known of both."""
    apart = (_contrasts(one) - _contrasts(other)) / SUBJECT_LOG_CONTRAST_SD
    known = apart[np.isfinite(apart)]
    return float(np.sqrt(np.mean(np.square(known)))) if known.size else float("nan")


def _contrasts(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms (2,) of grey matter and fluid over white matter; NaN where one is not known."""
    signal = np.where(landmarks > -1, landmarks + 1, np.nan)
    return np.asarray(np.log(np.delete(signal, WHITE_MATTER) / signal[WHITE_MATTER]))
