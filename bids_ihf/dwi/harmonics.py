"""Real spherical harmonics of even order: a shell's signal as a smooth function of direction."""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray
from scipy.special import lpmv

LAPLACE_BELTRAMI_WEIGHT = 0.006
"""Weight of the Laplace-Beltrami penalty (Descoteaux et al. 2007, Magn Reson Med 58:497)."""

MIN_DIRECTIONS_PER_COEFFICIENT = 1.3
"""Directions per coefficient that a shell needs, so that a fit smooths."""


def max_order(directions: int) -> int:
    """Highest order that can be fitted to a number of directions: 4, 2, or 0 (the mean alone).

    >>> [max_order(directions) for directions in (3, 12, 30)]
    [0, 2, 4]
    """
    needed = {order: MIN_DIRECTIONS_PER_COEFFICIENT * coefficient_count(order) for order in (4, 2)}
    return next((order for order, count in needed.items() if directions >= count), 0)


def coefficient_count(order: int) -> int:
    """Number of real harmonics of even order up to ``order``.

    >>> coefficient_count(4)
    15
    """
    return (order + 1) * (order + 2) // 2


def column_orders(order: int) -> NDArray[np.int64]:
    """The order of each column of `real_harmonics`."""
    return np.concatenate([np.full(2 * n + 1, n) for n in range(0, order + 1, 2)])


def real_harmonics(directions: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Real harmonics (N, coefficient_count(order)) at unit vectors (N, 3).

    Columns are sorted by order and degree m = -n ... n, with sin(|m| phi) for m < 0 and
    cos(m phi) for m > 0, and with the Condon-Shortley phase.  Their mean square over the sphere is
    1 (sqrt(4 pi) times the orthonormal basis), so that the first is 1 everywhere, its coefficient
    is the mean over all directions, and the sum of squares of the others is the variance.
    """
    cosine = np.clip(directions[:, 2], -1, 1)
    azimuth = np.arctan2(directions[:, 1], directions[:, 0])
    columns = []
    for n in range(0, order + 1, 2):
        for m in range(-n, n + 1):
            k = abs(m)
            norm = np.sqrt((2 * n + 1) * factorial(n - k) / factorial(n + k))
            wave = np.ones_like(azimuth)
            if m:
                wave = np.sqrt(2) * (np.cos(k * azimuth) if m > 0 else np.sin(k * azimuth))
            columns.append(norm * lpmv(k, n, cosine) * wave)
    return np.stack(columns, axis=1)


def fitting_matrix(directions: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Matrix (coefficient_count(order), N) that maps signals along directions (N, 3) to
    coefficients, by penalized least squares."""
    basis = real_harmonics(directions, order)
    n = column_orders(order)
    penalty = LAPLACE_BELTRAMI_WEIGHT * np.diag((n * (n + 1.0)) ** 2)
    return np.asarray(np.linalg.solve(basis.T @ basis + penalty, basis.T))
