"""Two-way analysis of variance of features: what scanners and subjects explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_FEATURE_SD = 1e-9
"""Features that vary less are left out."""


@frozen
class VarianceFractions:
    """Fractions of the variance explained by scanner, by subject, and by neither."""

    scanner: float
    subject: float
    residual: float


def variance_fractions(
    features: NDArray[np.floating], scanners: NDArray[Any], subjects: NDArray[Any]
) -> VarianceFractions:
    """Main effects of a balanced two-way analysis of variance.

    Sums of squares are taken over all features (N, F), each standardized.

    Parameters
    ----------
    features
        (N, F).
    scanners, subjects
        Of each row, (N,).

    Raises
    ------
    ValueError
        The design is not balanced.
    """
    scanner_names, scanner = np.unique(np.asarray(scanners), return_inverse=True)
    subject_names, subject = np.unique(np.asarray(subjects), return_inverse=True)
    scans = np.zeros((len(scanner_names), len(subject_names)))
    np.add.at(scans, (scanner, subject), 1)
    if scans.min() != scans.max():
        raise ValueError("not every subject was scanned by every scanner equally often")
    data = np.asarray(features, dtype=np.float64)
    data = data[:, data.std(axis=0) > MIN_FEATURE_SD]
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    explained = [
        sum(
            float((factor == k).sum() * np.square(data[factor == k].mean(axis=0)).sum())
            for k in range(factor.max() + 1)
        )
        / data.size
        for factor in (scanner, subject)
    ]
    return VarianceFractions(explained[0], explained[1], 1 - explained[0] - explained[1])
