"""Outliers among the images of a group, by robust z-scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from bids_ihf.bids.harmonized_images import HarmonizedImage

OUTLIER_MEASURES = (
    *("distance_after", "wasserstein_grey_after", "wasserstein_white_after"),
    *("wasserstein_csf_after", "change_rms", "snr_after", "cnr_after", "contrast_after"),
    *("mask_volume_ml", "alignment_similarity", "out_of_range_score"),
)
MAX_ROBUST_Z = 3.5
"""Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers."""
MIN_GROUP_SIZE = 5
"""Number of images below which a median is no reference."""


@frozen
class Outlier:
    """A measure of an image, far from the median of its group in units of robust z-scores."""

    image: HarmonizedImage
    measure: str
    value: float
    robust_z: float


def robust_z_scores(values: Sequence[float]) -> list[float]:
    """Return 0.6745 (x - median) / MAD of each value (Iglewicz and Hoaglin 1993).

    MAD is the median absolute deviation from the median; where it is 0, more than half of the
    values are equal and all scores are 0.
    """
    if not values:
        return []
    data = np.asarray(values, dtype=np.float64)
    deviation = data - np.median(data)
    mad = float(np.median(np.abs(deviation)))
    if mad <= 1e-12 * max(1.0, float(np.abs(data).max())):
        return [0.0] * data.size
    return [float(score) for score in 0.6745 * deviation / mad]


def find_outliers(images: Sequence[HarmonizedImage]) -> list[Outlier]:
    """Return the measures beyond `MAX_ROBUST_Z`, the farthest first."""
    outliers = []
    for measure in OUTLIER_MEASURES:
        values = [(image, image.number(measure)) for image in images]
        measured = [(i, value) for i, value in values if value is not None and np.isfinite(value)]
        scores = robust_z_scores([value for _, value in measured])
        if len(measured) >= MIN_GROUP_SIZE:
            outliers += [
                Outlier(image, measure, value, score)
                for (image, value), score in zip(measured, scores, strict=True)
                if abs(score) > MAX_ROBUST_Z
            ]
    return sorted(outliers, key=lambda outlier: -abs(outlier.robust_z))
