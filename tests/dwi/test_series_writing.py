"""The step in which a harmonized series is stored: that of its noise, not of its anatomy."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve

from bids_ihf.dwi.series_fit import FittedSeries
from bids_ihf.dwi.series_writing import StepSink
from bids_ihf.io.compact import MAX_STEP_OF_NOISE, noise_sd
from bids_ihf.lab.simulation.gradient_scheme import gradient_table
from tests.dwi.test_harmonize import ONES, WHERE, fitted, profile, series

NOISE, GAIN = 5.0, 1.5


def fitted_series(count: int = 24, unweighted: int = 4) -> tuple[FittedSeries, list[np.ndarray]]:
    scheme = gradient_table({0: unweighted, 1000: count}, 1)
    volumes = series(scheme, noise=NOISE, floor=20)
    fits = fitted(volumes, scheme)
    weight = np.ones(WHERE.shape, dtype=np.float32)
    known = profile(series(noise=NOISE))
    return FittedSeries(None, scheme, weight, fits, ONES, WHERE.ravel(), known), volumes  # type: ignore[arg-type]


def test_a_step_is_a_third_of_the_noise_of_the_series() -> None:
    found, volumes = fitted_series()
    assert found.noise_sd is not None
    assert 0.5 * NOISE < found.noise_sd < 1.2 * NOISE
    assert noise_sd(volumes[0]) > 4 * NOISE, "the first volume alone tells of its anatomy"
    sink = StepSink([None, None], 1.0, found.noise_sd, wide=False)
    for volume in np.rint(volumes).astype(np.float32):
        sink.add(GAIN * volume, (GAIN - 1) * volume)
    assert sink.steps is not None
    largest = MAX_STEP_OF_NOISE * GAIN * found.noise_sd
    assert largest / 2 < sink.steps.harmonized <= largest
    assert sink.round_trip_error == 0


@pytest.mark.parametrize("source", [1.0, 0.25])
def test_where_the_noise_is_not_known_a_step_is_the_scanners(source: float) -> None:
    found, volumes = fitted_series(count=6, unweighted=1)
    assert evolve(found, profile=evolve(found.profile, floor=0.0)).noise_sd is None
    sink = StepSink([None, None], source, None, wide=False)
    sink.add(GAIN * np.rint(volumes[0]), (GAIN - 1) * np.rint(volumes[0]))
    assert sink.steps is not None
    assert sink.steps.harmonized == pytest.approx(GAIN * source)
