"""Measures from histograms, on tissues whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bids_ihf.qc import measures as quality
from bids_ihf.targets.intensity import HISTOGRAM_BINS, HISTOGRAM_RANGE

LEVEL = (np.arange(HISTOGRAM_BINS) + 0.5) * (
    HISTOGRAM_RANGE[1] - HISTOGRAM_RANGE[0]
) / HISTOGRAM_BINS + HISTOGRAM_RANGE[0]


def bell(middle: float, width: float, size: float = 1e5) -> NDArray[np.float64]:
    """Histogram of a tissue about a share of the bright end, `width` being its deviation."""
    share = (LEVEL + 1) / 2
    found = np.exp(-0.5 * np.square((share - middle) / width))
    return np.asarray(size * found / found.sum())


def tissues(grey: float = 0.5, white: float = 0.8, csf: float = 0.2) -> NDArray[np.float64]:
    return np.stack([bell(grey, 0.05), bell(white, 0.04), bell(csf, 0.03)])


def test_known_values() -> None:
    found = tissues()
    assert quality.snr(found) == pytest.approx(0.8 / 0.04, rel=0.01)
    assert quality.cnr(found) == pytest.approx(0.3 / np.hypot(0.05, 0.04), rel=0.01)
    assert quality.contrast(found) == pytest.approx(0.5 / 0.8, rel=0.005)
    assert quality.volume_ml(found[0]) == pytest.approx(600)


@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_wasserstein_of_a_shift_is_the_shift(one: float, other: float) -> None:
    found = quality.wasserstein(bell(one, 0.02), bell(other, 0.02, size=50))
    assert found == pytest.approx(abs(one - other), abs=0.002)
    assert quality.wasserstein(bell(one, 0.02), bell(one, 0.02)) == 0


def test_wasserstein_as_scipy_has_it() -> None:
    from scipy.stats import wasserstein_distance

    one, other = bell(0.4, 0.1), bell(0.5, 0.02)
    share = (LEVEL + 1) / 2
    expected = wasserstein_distance(share, share, one, other)
    assert quality.wasserstein(one, other) == pytest.approx(expected, rel=1e-6)


def test_gain_of_the_units_does_not_matter() -> None:
    """Measures that compare tissues are the same however dark the image is."""
    dark = np.stack([bell(0.25, 0.025), bell(0.4, 0.02), bell(0.1, 0.015)])
    for measure in (quality.snr, quality.cnr, quality.contrast):
        assert measure(dark) == pytest.approx(measure(tissues()), rel=0.03)


def test_what_is_not_seen_is_not_measured() -> None:
    found = tissues()
    found[1] = 0
    assert np.isnan(quality.snr(found))
    assert np.isnan(quality.cnr(found))
    assert np.isnan(quality.contrast(found))
    assert np.isnan(quality.volume_ml(found[1]))
    assert np.isnan(quality.wasserstein(found[1], tissues()[1]))
    assert np.isfinite(quality.volume_ml(found[0]))
