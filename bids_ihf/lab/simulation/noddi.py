"""The NODDI signal model: dispersed sticks, hindered water and free water.

Zhang et al. 2012, NeuroImage 61:1000, with its fixed diffusivities.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import legendre

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float32]

NEURITE_DIFFUSIVITY_MM2_PER_S = 1.7e-3
"""Diffusivity along a neurite, mm2/s."""

FREE_DIFFUSIVITY_MM2_PER_S = 3.0e-3
"""Diffusivity of free water at body temperature, mm2/s."""

LEGENDRE_ORDERS = (0, 2, 4, 6, 8, 10)
"""Orders of the Legendre series; at b 3000 the remainder is below a thousandth of the signal."""

QUADRATURE_NODES = 96
"""Gauss-Legendre nodes on 0 to 1, enough for all kernels here."""

MAX_DECAY = 16.0
"""Largest product of b-value and diffusivity in the table of zonal coefficients."""


def watson_concentration(odi: NDArray[np.floating]) -> NDArray[np.float64]:
    """Concentration of a Watson distribution from the dispersion index, Eq. 14 of Zhang 2012.

    >>> watson_concentration(np.array([0.5])).round(6)
    array([1.])
    """
    return np.asarray(1 / np.tan(np.pi / 2 * np.asarray(odi, dtype=np.float64)))


@cache
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of Gauss-Legendre quadrature on 0 to 1."""
    x, weight = legendre.leggauss(QUADRATURE_NODES)
    return (x + 1) / 2, weight / 2


def _stick_coefficient(order: int, decay: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zonal coefficient of a stick's signal exp(-decay cos^2), decay = b times diffusivity."""
    x, weight = _quadrature()
    polynomial = legendre.Legendre.basis(order)(x)
    return np.asarray(np.exp(-np.multiply.outer(decay, x * x)) @ (weight * polynomial))


@cache
def _watson_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dispersion indices (97,) and the zonal moments (97, orders) of the Watson distribution."""
    x, weight = _quadrature()
    odi = np.linspace(0.02, 0.98, 97)
    density = np.exp(np.multiply.outer(watson_concentration(odi), x * x - 1))
    density /= (density @ weight)[:, None]
    polynomials = [legendre.Legendre.basis(order)(x) * weight for order in LEGENDRE_ORDERS]
    return odi, density @ np.stack(polynomials, axis=1)


def watson_moment(order: int, odi: Array) -> Array:
    """Mean of the Legendre polynomial of ``order`` over a Watson distribution of dispersion."""
    tabulated_odi, moments = _watson_table()
    column = moments[:, LEGENDRE_ORDERS.index(order)]
    return np.interp(odi, tabulated_odi, column).astype(np.float32)


def stick_series(b: Array, moments: Sequence[Array]) -> Array:
    """Signal of dispersed sticks as a polynomial in the squared cosine of gradient and axis.

    Coefficients (orders, N), lowest power first, for b-values (N,) in s/mm2 and the Watson
    ``moments`` of `LEGENDRE_ORDERS`, by the convolution theorem of zonal functions.
    """
    diffusivity = NEURITE_DIFFUSIVITY_MM2_PER_S
    decays = np.linspace(0, max(float(b.max()), 1.0) * diffusivity, 129)
    coefficients = np.zeros((len(LEGENDRE_ORDERS), len(b)), dtype=np.float32)
    for order, moment in zip(LEGENDRE_ORDERS, moments, strict=True):
        kernel = np.interp(b * diffusivity, decays, _stick_coefficient(order, decays))
        kernel = kernel * (2 * order + 1)
        powers = legendre.leg2poly(np.eye(order + 1)[order])[::2]
        terms = np.multiply.outer(powers, kernel * moment)
        coefficients[: len(powers)] += terms.astype(np.float32)
    return coefficients


def neurite_signal(
    b: Array, cosine_squared: Array, ndi: Array, second_moment: Array, sticks: Array
) -> Array:
    """Signal (N,), 1 at b 0, of nervous tissue without free water.

    ``cosine_squared`` is that of the angle between gradient and axis, ``second_moment`` the Watson
    moment of order 2, ``sticks`` the coefficients of `stick_series`.  The water between the sticks
    has a tensor with their mean orientation and the tortuosity of the neurite density (Eqs. 4-8
    of Zhang 2012).
    """
    intra = sticks[-1] * cosine_squared
    for coefficient in sticks[-2:0:-1]:
        intra += coefficient
        intra *= cosine_squared
    intra += sticks[0]
    across, along = hindered_diffusivities(ndi, second_moment)
    extra = np.exp(-b * (across + (along - across) * cosine_squared))
    return np.asarray(ndi * intra + (1 - ndi) * extra, dtype=np.float32)


def zonal_signal(b: Array, ndi: Array, second_moment: Array) -> tuple[Array, Array]:
    """Zonal coefficients (N,) of orders 0 and 2 of `neurite_signal`, without computing directions.

    The first is the mean over all directions.  The second, times the root of 5, is the root of the
    energy of order 2: the coefficients' sum of squares in `dwi.harmonics.real_harmonics`.
    """
    across, along = hindered_diffusivities(ndi, second_moment)
    free = np.exp(-b * across)
    sticks, hindered = b * NEURITE_DIFFUSIVITY_MM2_PER_S, b * (along - across)
    mean = ndi * _tabulated(0, sticks) + (1 - ndi) * free * _tabulated(0, hindered)
    second = ndi * _tabulated(2, sticks) * second_moment
    second += (1 - ndi) * free * _tabulated(2, hindered)
    return mean.astype(np.float32), second.astype(np.float32)


def _tabulated(order: int, decay: Array) -> NDArray[np.float64]:
    """`_stick_coefficient` by linear interpolation, error below 1e-4."""
    decays, coefficients = _stick_table(order)
    return np.interp(decay, decays, coefficients)


@cache
def _stick_table(order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    decays = np.linspace(0, MAX_DECAY, 513)
    return decays, _stick_coefficient(order, decays)


def hindered_diffusivities(ndi: Array, second_moment: Array) -> tuple[Array, Array]:
    """Diffusivities (mm2/s) of the water between neurites, across and along their axis.

    Tortuosity model: with the mean squared cosine a between neurites and axis, the diffusivity
    is d (1 - ndi (1 - a)) along the axis and d (1 - ndi (1 + a) / 2) across it.
    """
    aligned = mean_cosine_squared(second_moment)
    along = NEURITE_DIFFUSIVITY_MM2_PER_S * (1 - ndi * (1 - aligned))
    across = NEURITE_DIFFUSIVITY_MM2_PER_S * (1 - ndi * (1 + aligned) / 2)
    return across.astype(np.float32), along.astype(np.float32)


def mean_cosine_squared(second_moment: Array) -> Array:
    """Mean squared cosine between neurites and axis, from the Watson moment of order 2."""
    return np.asarray((1 + 2 * second_moment) / 3, dtype=np.float32)
