"""The maps of a series that its directions share, before and after the shell model."""

from __future__ import annotations

import numpy as np
import pytest

from bids_ihf.dwi.harmonics import real_harmonics
from bids_ihf.dwi.profile import measure_profile
from bids_ihf.dwi.shared_maps import harmonized_maps, shared_maps
from bids_ihf.dwi.shell_plan import make_plan
from tests.dwi.test_harmonize import ONES, WHERE, fitted, harmonized, profile, series


def test_the_energy_is_the_spread_of_the_directions() -> None:
    """Of a cosine squared along one axis, exactly: its variance over the sphere is 4/45."""
    volumes = series()
    maps = shared_maps(fitted(volumes), ONES)
    assert maps.b0 == pytest.approx(volumes[0].ravel(), rel=1e-4)
    energy = maps.energies[0]
    assert energy is not None
    directions = np.random.default_rng(0).normal(size=(4000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    spread = (fitted(volumes)[1].coefficients[1:6].T @ real_harmonics(directions, 2)[:, 1:].T).std(
        axis=1
    )
    assert energy == pytest.approx(spread, rel=0.06)


def test_maps_after_the_shell_model_are_those_of_the_series_that_it_writes() -> None:
    """They are predicted from the fits alone."""
    source, target = series(floor=12.0), profile(series(b_scale=0.93, gain=2.0, floor=50.0))
    fits = fitted(source)
    plan = make_plan(measure_profile(fits, WHERE.ravel(), ONES), target)
    predicted = harmonized_maps(fits, plan, ONES)
    written = shared_maps(fitted(list(harmonized(source, target))), ONES)
    assert predicted.b0 == pytest.approx(written.b0, rel=1e-4)
    for shell in range(2):
        mean, energy = written.means[shell], written.energies[shell]
        assert predicted.means[shell] == pytest.approx(mean, rel=0.02)
        guess = predicted.energies[shell]
        assert energy is not None
        assert guess is not None
        strong = energy > 0.15 * mean
        assert strong.sum() > 1000
        assert np.median(np.abs(guess / energy - 1)[strong]) < 0.04


def test_too_few_directions_have_no_energy() -> None:
    from bids_ihf.lab.simulation.gradient_scheme import gradient_table

    scheme = gradient_table({0: 1, 1000: 4}, 1)
    fits = fitted(series(scheme), scheme)
    assert shared_maps(fits, ONES).energies == (None,)
