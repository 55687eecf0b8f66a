"""Harmonics: orthonormal over the sphere, exact for what they span."""

from __future__ import annotations

import numpy as np
import pytest

from bids_ihf.dwi.harmonics import (
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
