"""Scales and the matching curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_ihf.targets.intensity import (
    HISTOGRAM_BINS,
    IntensityCurve,
    IntensityScale,
    histogram,
    histogram_quantiles,
    robust_scale,
)


def brain(seed: int, gamma: float = 1.0) -> np.ndarray:
    """Intensities of three tissues in network units."""
    rng = np.random.default_rng(seed)
    tissues = [rng.normal(mean, 0.05, 20000) for mean in (-0.6, 0.1, 0.6)]
    values = np.clip((np.concatenate(tissues) + 1) / 2, 0, 1) ** gamma
    return (2 * values - 1).astype(np.float32)


def test_scale_keeps_no_signal_at_minus_one() -> None:
    data = np.arange(1000, dtype=np.float32)
    scale = robust_scale(data, data > 0)
    assert scale.low == 0
    assert scale.normalize(np.zeros(1, np.float32))[0] == -1
    assert scale.high == pytest.approx(998, abs=1)


def test_scale_of_signed_data_starts_at_their_bottom() -> None:
    data = np.linspace(-3, 3, 1001, dtype=np.float32)
    assert robust_scale(data, np.ones(1001, bool)).low == pytest.approx(-3, abs=0.02)


@pytest.mark.parametrize("mask", [np.zeros(5, bool), np.ones(5, bool)])
def test_scale_needs_a_brain_with_contrast(mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match="empty" if not mask.any() else "one intensity"):
        robust_scale(np.full(5, -7, np.float32), mask)


@given(low=st.floats(-100, 0), span=st.floats(1e-2, 1e6))
@settings(deadline=None)
def test_normalize_and_restore_are_inverse(low: float, span: float) -> None:
    scale = IntensityScale(low, low + span)
    data = np.linspace(low, low + span, 50).astype(np.float32)
    np.testing.assert_allclose(
        scale.restore(scale.normalize(data)), data, atol=1e-5 * (span + abs(low))
    )


def test_quantiles_of_a_histogram_are_those_of_the_data() -> None:
    values = brain(0)
    counts = histogram(values)
    assert counts.shape == (HISTOGRAM_BINS,)
    assert counts.sum() == values.size
    p = np.array([0.05, 0.3, 0.5, 0.9])
    np.testing.assert_allclose(histogram_quantiles(counts, p), np.quantile(values, p), atol=0.01)


def test_curve_goes_on_straight_beyond_its_ends() -> None:
    curve = IntensityCurve([-0.5, 0.5], [-0.4, 0.4])
    np.testing.assert_allclose(curve(np.array([0.5, 1.5], np.float32)), [0.4, 1.2], atol=1e-6)
