"""The bounds learn what pairs show: a curve, and what depends on the place."""

from __future__ import annotations

import numpy as np

from bids_ihf.geometry.grid import Grid
from bids_ihf.lab.benchmarks.travellers.paired_regression import (
    predict_from_pairs,
    voxel_features,
)
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import NetworkInput

SLICES = np.array([0, 1])


def on_grid(data: np.ndarray) -> NetworkInput:
    data = data.astype(np.float32)
    mask = np.zeros_like(data)
    mask[4:-4, 4:-4] = 1
    return NetworkInput(data, mask, Grid(data.shape, np.eye(4)), IntensityScale(0, 1))


def random_scan(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((40, 44, 2)) * 0.8 + 0.1


def errors(shading: np.ndarray) -> tuple[float, float]:
    """Errors of both regressions where the target is the square of the source, shaded."""
    pairs = [(on_grid(data), on_grid(data**2 * shading)) for data in map(random_scan, (1, 2))]
    source = on_grid(random_scan(3))
    truth, brain = source.data**2 * shading, source.brain
    results = predict_from_pairs(source, SLICES, pairs)
    assert all((image[~brain] == 0).all() for image in results)
    first, second = (float(np.abs(image - truth)[brain].mean()) for image in results)
    return first, second


def test_both_learn_a_curve() -> None:
    polynomial, boosting = errors(np.ones((40, 44, 2)))
    assert polynomial < 0.005
    assert boosting < 0.01


def test_boosting_knows_the_position() -> None:
    shading = np.linspace(0.5, 1.5, 40)[:, None, None] * np.ones((40, 44, 2))
    polynomial, boosting = errors(shading)
    assert boosting < 0.5 * polynomial


def test_features_do_not_see_outside_the_brain() -> None:
    scan = on_grid(random_scan(4))
    bright = on_grid(np.where(scan.brain, scan.data, 9.0))
    np.testing.assert_array_equal(voxel_features(scan, SLICES), voxel_features(bright, SLICES))
