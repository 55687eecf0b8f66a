"""Can a classifier name the scanner?  Trained on the images under test, people left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy import stats

from bids_ihf.qc.readout import read_out
from bids_ihf.reports.group_statistics import principal_components
from bids_ihf.validation.agreement import CONFIDENCE_LEVEL, Estimate

MAX_PROBE_FOLDS = 10
"""People are left out one by one, or, of more, in so many groups."""


@frozen
class Probe:
    """How well the scanner of people left out is named.

    Attributes
    ----------
    accuracy
        Fraction of the images, with the exact binomial interval (Clopper and Pearson 1934).
    chance
        Accuracy of always naming the most frequent scanner.
    permuted
        95th percentile of the accuracy with the scanners of each person permuted: what chance
        reaches.
    images, people, scanners
        Numbers of each.
    """

    accuracy: Estimate
    chance: float
    permuted: float
    images: int
    people: int
    scanners: int


def probe_scanner(
    features: NDArray[np.floating], scanners: NDArray[Any], people: NDArray[Any]
) -> Probe | None:
    """Train a linear classifier to name the scanner, and test it on people left out.

    It sees the principal components of the features.

    Parameters
    ----------
    features
        (N, F).
    scanners, people
        Of each row, (N,).

    Returns
    -------
    Probe or None
        None with fewer than two people or scanners, or where images of some people are all alike.
    """
    labels, person = np.unique(people, return_inverse=True)
    names = np.unique(scanners)
    if len(labels) < 2 or len(names) < 2:
        return None
    # Components of all images together, which know nothing of scanners: quicker by far.
    scores = principal_components(np.asarray(features, dtype=np.float64)[None])[0][0]
    folds = person % min(len(labels), MAX_PROBE_FOLDS)
    try:
        result = read_out(scores, scanners, folds, people=person, standardize=False)
    except ValueError:  # no feature differs among the people that are left
        return None
    count = len(features)
    return Probe(
        accuracy=binomial_estimate(round(result.accuracy * count), count),
        chance=result.chance,
        permuted=result.permuted,
        images=count,
        people=len(labels),
        scanners=len(names),
    )


def binomial_estimate(successes: int, count: int) -> Estimate:
    """Fraction of successes with its exact interval (Clopper and Pearson 1934, Biometrika 26:404).

    >>> estimate = binomial_estimate(8, 10)
    >>> round(estimate.low, 3), round(estimate.high, 3)
    (0.444, 0.975)
    """
    interval = stats.binomtest(successes, count).proportion_ci(CONFIDENCE_LEVEL, method="exact")
    return Estimate(successes / count, float(interval.low), float(interval.high))
