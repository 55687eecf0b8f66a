"""The curve that is estimated from few subjects' quantiles."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_ihf.targets.curve_estimate import predicted_quantiles, quantile_curve
from bids_ihf.targets.intensity import Counts, IntensityCurve, histogram
from bids_ihf.targets.partial_volume import TissuePair, tissue_pairs

MANY = 1e-3
"""Variance of subjects where there are a thousand of them."""


def brain(seed: int, gamma: float = 1.0) -> np.ndarray:
    """Intensities of three tissues in network units."""
    rng = np.random.default_rng(seed)
    tissues = [rng.normal(mean, 0.05, 20000) for mean in (-0.6, 0.1, 0.6)]
    values = np.clip((np.concatenate(tissues) + 1) / 2, 0, 1) ** gamma
    return (2 * values - 1).astype(np.float32)


@pytest.mark.parametrize("gamma", [0.7, 1.4])
def test_curve_undoes_a_change_of_contrast(gamma: float) -> None:
    curve = quantile_curve(histogram(brain(1, gamma)), histogram(brain(2)), MANY)
    error = np.abs(curve(brain(1, gamma)) - brain(1)).mean()
    assert error < 0.1 * np.abs(brain(1, gamma) - brain(1)).mean()


def test_curve_to_itself_is_the_identity() -> None:
    counts = histogram(brain(3))
    x = np.linspace(-1, 1.5, 200).astype(np.float32)
    np.testing.assert_allclose(quantile_curve(counts, counts, MANY)(x), x, atol=1e-5)


@given(seed=st.integers(0, 50), gamma=st.floats(0.4, 2.5))
@settings(max_examples=20, deadline=None)
def test_curve_never_falls_and_keeps_no_signal(seed: int, gamma: float) -> None:
    curve = quantile_curve(histogram(brain(seed, gamma)), histogram(brain(seed + 1)), MANY)
    values = curve(np.linspace(-1, 2.5, 500).astype(np.float32))
    assert (np.diff(values) >= -1e-6).all()
    assert values[0] == pytest.approx(-1, abs=1e-3)


def test_curve_of_integer_data_with_repeated_quantiles() -> None:
    values = np.repeat(np.array([-0.8, 0.0, 0.7], np.float32), 1000)
    curve = quantile_curve(histogram(values), histogram(brain(0)), MANY)
    assert np.isfinite(curve(values)).all()


def test_dark_voxels_in_the_mask_do_not_brighten_all_darkness() -> None:
    dark = np.full(4000, -0.94, np.float32)
    curve = quantile_curve(histogram(np.concatenate([brain(0), dark])), histogram(brain(1)), MANY)
    assert curve(np.array([-1.0], np.float32))[0] == pytest.approx(-1, abs=1e-3)
    assert curve(np.array([-0.94], np.float32))[0] < -0.75


def test_one_subject_steers_the_curve_less_than_many() -> None:
    """Two subjects of one scanner, one with twice the bright fluid: the scanner did nothing."""
    rng = np.random.default_rng(0)
    source, target = (
        histogram(
            np.concatenate([rng.normal(-0.2, 0.2, 20000), rng.normal(0.8, 0.15, fluid)]).astype(
                "f4"
            )
        )
        for fluid in (1000, 2000)
    )
    x = np.linspace(-0.7, 1.0, 50).astype(np.float32)
    one, many = (
        float(np.abs(quantile_curve(source, target, variance)(x) - x).mean())
        for variance in (2.0, MANY)
    )
    assert one < 0.8 * many


def test_a_line_is_kept_however_few_the_subjects() -> None:
    """Gain and offset are the scanners' whatever the variance."""
    probabilities = np.linspace(0.005, 0.995, 65)
    x = np.linspace(-0.9, 0.9, 65) ** 3
    for variance, pairs in product((MANY, 2.0), ([], [TissuePair((0.2, 0.6), 0.01)])):
        found = predicted_quantiles(x, 0.7 * x - 0.2, probabilities, variance, pairs)
        np.testing.assert_allclose(found, 0.7 * x - 0.2, atol=1e-9)


def grey_and_white(grey: float, border_sd: float) -> Counts:
    """Grey matter, white matter at 0.6, and their border.  The larger the standard deviation of
    the fractions there, the sharper is the image."""
    rng = np.random.default_rng(0)
    fraction = np.clip(rng.normal(0.6, border_sd, 10000), 0, 1)
    mixed = fraction * grey + (1 - fraction) * 0.6
    tissues = [rng.normal(mean, 0.05, 10000) for mean in (grey, 0.6)]
    return histogram(np.concatenate([*tissues, mixed]).astype(np.float32))


def middle_off_line(curve: IntensityCurve, grey: float) -> float:
    """How far a voxel of half grey, half white matter is from the middle of both, in parts of
    their contrast."""
    low, middle, high = curve(np.array([grey, (grey + 0.6) / 2, 0.6], np.float32)).astype(float)
    return abs((middle - low) / (high - low) - 0.5)


def test_curve_is_straight_between_tissues_that_share_voxels() -> None:
    """Otherwise the curve would make a blurred scan look sharp, at the cost of a tissue."""
    source, target = grey_and_white(-0.2, 0.2), grey_and_white(0.1, 1.0)
    pair = TissuePair((-0.2, 0.6), 0.01)
    free, held = (quantile_curve(source, target, 2.0, pairs) for pairs in ((), (pair,)))
    assert middle_off_line(free, -0.2) > 4 * middle_off_line(held, -0.2)


@pytest.mark.parametrize(
    ("landmarks", "expected"),
    [
        ((0.3, 0.6, -0.5), [(0.3, 0.6)]),  # T1w
        ((0.0, -0.2, 0.8), [(0.0, -0.2), (0.0, 0.8)]),  # T2w
        ((0.5, 0.3, -0.8), [(0.5, 0.3), (0.3, -0.8)]),  # FLAIR
        ((0.5, 0.3, np.nan), [(0.5, 0.3)]),
        ((np.nan, 0.3, -0.8), []),
        ((np.nan, np.nan, np.nan), []),
    ],
)
def test_pairs_of_tissues_follow_the_contrast(
    landmarks: tuple[float, float, float], expected: list[tuple[float, float]]
) -> None:
    assert [pair.intensities for pair in tissue_pairs(np.array(landmarks))] == expected
