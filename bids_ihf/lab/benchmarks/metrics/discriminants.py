"""Linear discriminants (Fisher 1936) for more features than rows.

The pooled covariance is shrunk towards a multiple of the identity (Ledoit & Wolf 2004, J Multivar
Anal 88:365).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def discriminate(
    train: NDArray[np.float64],
    labels: NDArray[np.intp],
    test: NDArray[np.float64],
    classes: int,
    size: int,
) -> NDArray[np.intp]:
    """Class (M,) of the test rows (M, R) by the linear discriminants of the training rows (N, R).

    ``size`` is the number of features that the R were turned from.
    """
    counts = np.bincount(labels, minlength=classes)
    sums = np.zeros((classes, train.shape[1]))
    np.add.at(sums, labels, train)
    means = sums / np.maximum(counts, 1)[:, None]
    weights = np.linalg.solve(_pooled(train - means[labels], size), means.T)
    score = test @ weights - 0.5 * np.einsum("kr,rk->k", means, weights)
    return np.where(counts > 0, score, -np.inf).argmax(axis=1)


def _pooled(residuals: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Covariance of residuals (N, R), shrunk; the identity where they do not vary."""
    covariance = residuals.T @ residuals / len(residuals)
    mean = float(np.trace(covariance)) / size
    if mean < 1e-12:
        return np.eye(len(covariance))
    amount = shrinkage(residuals, size)
    return (1 - amount) * covariance + amount * mean * np.eye(len(covariance))


def shrinkage(residuals: NDArray[np.float64], size: int) -> float:
    """Ledoit and Wolf's share of the identity (section 3.3) for centred rows (N, R) of ``size``
    features."""
    n = len(residuals)
    covariance = residuals.T @ residuals / n
    total = float(np.square(covariance).sum())
    away = total - float(np.trace(covariance)) ** 2 / size
    noise = (float((np.square(residuals).sum(axis=1) ** 2).sum()) / n - total) / n
    return min(max(noise / away, 0.0), 1.0) if away > 0 else 1.0
