"""Spherical harmonics of even order: a shell's signal as a smooth function of direction."""

from __future__ import annotations

from math import factorial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAPLACE_BELTRAMI_WEIGHT = 0.006
"""Weight of the Laplace-Beltrami penalty (Descoteaux et al. 2007, Magn Reson Med 58:497)."""

MIN_DIRECTIONS_PER_COEFFICIENT = 1.3
"""Directions a shell must have for each coefficient, so that a fit smooths."""


def max_order(directions: int) -> int:
    """Highest order that so many directions carry: 4, 2, or 0 (the mean alone)."""
    return next(
        (
            order
            for order in (4, 2)
            if directions >= MIN_DIRECTIONS_PER_COEFFICIENT * coefficient_count(order)
        ),
        0,
    )


def coefficient_count(order: int) -> int:
    """Number of real harmonics of even order up to ``order``."""
    return (order + 1) * (order + 2) // 2


def column_orders(order: int) -> NDArray[np.int64]:
    """The order of each column of `harmonics`."""
    return np.concatenate([np.full(2 * n + 1, n) for n in range(0, order + 1, 2)])


def real_harmonics(directions: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Real harmonics (N, size(order)) at unit vectors (N, 3).

    Their mean square over the sphere is 1, so the first is 1 everywhere, its coefficient the mean
    over all directions, and the sum of the squares of the others the variance.
    """
    from scipy.special import lpmv

    cosine = np.clip(directions[:, 2], -1, 1)
    angle = np.arctan2(directions[:, 1], directions[:, 0])
    columns = []
    for n in range(0, order + 1, 2):
        for m in range(-n, n + 1):
            k = abs(m)
            norm = np.sqrt((2 * n + 1) * factorial(n - k) / factorial(n + k))
            wave = np.ones_like(angle)
            if m:
                wave = np.sqrt(2) * (np.cos(k * angle) if m > 0 else np.sin(k * angle))
            columns.append(norm * lpmv(k, n, cosine) * wave)
    return np.stack(columns, axis=1)


def fitting_matrix(directions: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Matrix (size(order), N) that leads from signals along directions to coefficients."""
    basis = real_harmonics(directions, order)
    n = column_orders(order)
    penalty = LAPLACE_BELTRAMI_WEIGHT * np.diag((n * (n + 1.0)) ** 2)
    return np.asarray(np.linalg.solve(basis.T @ basis + penalty, basis.T))
