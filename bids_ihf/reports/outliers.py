"""Images that stand apart from the others of their group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.bids.harmonized_images import HarmonizedImage

MEASURES = (
    "distance_after",
    "wasserstein_grey_after",
    "wasserstein_white_after",
    "wasserstein_csf_after",
    "change_rms",
    "snr_after",
    "cnr_after",
    "contrast_after",
    "mask_volume_ml",
    "alignment_similarity",
    "out_of_range_score",
)
CUT = 3.5
FEWEST = 5
"""Below this many images a median says nothing about who stands apart."""


@frozen
class Outlier:
    """A measure of an image, far from the median of its group."""

    image: HarmonizedImage
    measure: str
    value: float
    score: float


def robust_scores(values: Sequence[float]) -> list[float]:
    """Return 0.6745 (x - median) / MAD of each value (Iglewicz and Hoaglin 1993).

    MAD is the median absolute deviation from the median; where it is 0 more than half of the
    values are equal, and no score is given (all 0).
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return []
    away = data - np.median(data)
    spread = float(np.median(np.abs(away)))
    if spread <= 1e-12 * max(1.0, float(np.abs(data).max())):
        return [0.0] * data.size
    return [float(score) for score in 0.6745 * away / spread]


def find_outliers(images: Sequence[HarmonizedImage]) -> list[Outlier]:
    """Return what lies more than `CUT` robust scores from the median of its measure."""
    found = []
    for measure in MEASURES:
        known = [(image, image.number(measure)) for image in images]
        given = [
            (image, value) for image, value in known if value is not None and np.isfinite(value)
        ]
        if len(given) < FEWEST:
            continue
        scores = robust_scores([value for _, value in given])
        found += [
            Outlier(image, measure, value, score)
            for (image, value), score in zip(given, scores, strict=True)
            if abs(score) > CUT
        ]
    return sorted(found, key=lambda outlier: -abs(outlier.score))
