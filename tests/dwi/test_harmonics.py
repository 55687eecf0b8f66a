"""Harmonics: orthonormal over the sphere, exact for what they span."""

from __future__ import annotations

import numpy as np
import pytest

from bids_ihf.dwi.harmonics import (
    LAPLACE_BELTRAMI_WEIGHT,
    coefficient_count,
    column_orders,
    fitting_matrix,
    max_order,
    real_harmonics,
)
from bids_ihf.lab.simulation.gradient_scheme import hemisphere_directions


def test_mean_square_is_one_and_products_vanish() -> None:
    basis = real_harmonics(hemisphere_directions(4000), 4)
    assert basis.shape == (4000, coefficient_count(4)) == (4000, 15)
    assert np.allclose(basis.T @ basis / 4000, np.eye(15), atol=0.02)
    assert column_orders(4).tolist() == [0, *5 * [2], *9 * [4]]


@pytest.mark.parametrize(("count", "order"), [(3, 0), (7, 0), (8, 2), (16, 2), (20, 4), (64, 4)])
def test_order_goes_with_directions(count: int, order: int) -> None:
    assert max_order(count) == order


def test_a_tensor_shaped_signal_is_found_again() -> None:
    directions = hemisphere_directions(30)
    axis = np.array([0.6, 0.0, 0.8])
    signal = 100 - 40 * (directions @ axis) ** 2
    coefficients = fitting_matrix(directions, 4) @ signal
    assert coefficients[0] == pytest.approx(100 - 40 / 3, rel=0.005)
    along = real_harmonics(axis[None], 4)[0] @ coefficients
    assert along == pytest.approx(60, rel=0.02)
    variance = 40**2 * 4 / 45  # of cos^2 over the sphere
    assert (coefficients[1:] ** 2).sum() == pytest.approx(variance, rel=0.05)


def test_basis_is_dipys_but_for_its_norm() -> None:
    """That of Tournier et al. 2007, times sqrt(4 pi): same order of columns, same signs."""
    from dipy.reconst.shm import real_sh_tournier

    directions = np.random.default_rng(0).normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    polar, azimuth = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    basis, _, orders = real_sh_tournier(4, polar, azimuth, legacy=False)
    expected = np.sqrt(4 * np.pi) * basis
    np.testing.assert_allclose(real_harmonics(directions, 4), expected, rtol=0, atol=1e-12)
    assert column_orders(4).tolist() == orders.tolist()


@pytest.mark.parametrize(("count", "order"), [(12, 2), (30, 4)])
def test_fit_is_dipys_regularized_one(count: int, order: int) -> None:
    """Laplace-Beltrami regularization in dipy's basis, whose coefficients are sqrt(4 pi) ours."""
    from dipy.reconst.shm import real_sh_tournier, smooth_pinv

    directions = hemisphere_directions(count)
    polar, azimuth = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    basis, _, n = real_sh_tournier(order, polar, azimuth, legacy=False)
    penalty = np.sqrt(LAPLACE_BELTRAMI_WEIGHT / (4 * np.pi)) * n * (n + 1)
    expected = smooth_pinv(basis, penalty) / np.sqrt(4 * np.pi)
    np.testing.assert_allclose(fitting_matrix(directions, order), expected, rtol=0, atol=1e-10)
