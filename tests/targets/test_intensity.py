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
    quantile_curve,
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


@pytest.mark.parametrize("gamma", [0.7, 1.4])
def test_curve_undoes_a_change_of_contrast(gamma: float) -> None:
    curve = quantile_curve(histogram(brain(1, gamma)), histogram(brain(2)))
    error = np.abs(curve(brain(1, gamma)) - brain(1)).mean()
    assert error < 0.1 * np.abs(brain(1, gamma) - brain(1)).mean()


def test_curve_to_itself_is_the_identity() -> None:
    counts = histogram(brain(3))
    x = np.linspace(-1, 1.5, 200).astype(np.float32)
    np.testing.assert_allclose(quantile_curve(counts, counts)(x), x, atol=1e-5)


@given(seed=st.integers(0, 50), gamma=st.floats(0.4, 2.5))
@settings(max_examples=20, deadline=None)
def test_curve_never_falls_and_keeps_no_signal(seed: int, gamma: float) -> None:
    curve = quantile_curve(histogram(brain(seed, gamma)), histogram(brain(seed + 1)))
    values = curve(np.linspace(-1, 2.5, 500).astype(np.float32))
    assert (np.diff(values) >= -1e-6).all()
    assert values[0] == pytest.approx(-1, abs=1e-3)


def test_curve_goes_on_straight_beyond_its_ends() -> None:
    curve = IntensityCurve([-0.5, 0.5], [-0.4, 0.4])
    np.testing.assert_allclose(curve(np.array([0.5, 1.5], np.float32)), [0.4, 1.2], atol=1e-6)


def test_curve_of_integer_data_with_repeated_quantiles() -> None:
    values = np.repeat(np.array([-0.8, 0.0, 0.7], np.float32), 1000)
    curve = quantile_curve(histogram(values), histogram(brain(0)))
    assert np.isfinite(curve(values)).all()


def test_dark_voxels_in_the_mask_do_not_brighten_all_darkness() -> None:
    dark = np.full(4000, -0.94, np.float32)
    curve = quantile_curve(histogram(np.concatenate([brain(0), dark])), histogram(brain(1)))
    assert curve(np.array([-1.0], np.float32))[0] == pytest.approx(-1, abs=1e-3)
    assert curve(np.array([-0.94], np.float32))[0] < -0.75
