"""What is done to files: each step does what it says, alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bids_ihf.lab.simulation.file_history import FileHistory, random_history

ZOOMS = np.ones(3)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A bright ball with noise on a dark ground."""
    rng = np.random.default_rng(0)
    ball = np.linalg.norm(np.indices((40, 40, 40)) - 20, axis=0) < 14
    return np.abs(100 * ball + rng.normal(0, 4, ball.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def brain(image: np.ndarray) -> np.ndarray:
    """The ball without its edge."""
    return np.asarray(ndimage.binary_erosion(ndimage.gaussian_filter(image, 1) > 50))


def test_no_history_changes_nothing(image: np.ndarray, brain: np.ndarray) -> None:
    assert np.array_equal(FileHistory().apply(image, brain, ZOOMS), image)


def test_stripping_leaves_the_brain_alone(image: np.ndarray, brain: np.ndarray) -> None:
    stripped = FileHistory(stripped=1).apply(image, brain, ZOOMS)
    assert np.array_equal(stripped[brain], image[brain])
    assert not stripped[0].any()
    assert (FileHistory(stripped=-1).apply(image, brain, ZOOMS)[brain] == 0).any()


def test_clipping_and_eight_bits(image: np.ndarray, brain: np.ndarray) -> None:
    clipped = FileHistory(clipping=(1.0, 90.0)).apply(image, brain, ZOOMS)
    low, high = np.percentile(image, (1, 90))
    assert clipped.max() == pytest.approx(high - low)
    assert clipped.min() == 0
    assert len(np.unique(FileHistory(grey_levels=255).apply(image, brain, ZOOMS))) <= 256


def test_denoising_spares_the_edge(image: np.ndarray, brain: np.ndarray) -> None:
    denoised = FileHistory(denoising=1.0).apply(image, brain, ZOOMS)
    assert denoised[brain].std() < 0.7 * image[brain].std()
    blurred = ndimage.gaussian_filter(image, 1.0)
    assert np.abs(np.diff(denoised[:, 20, 20])).max() > np.abs(np.diff(blurred[:, 20, 20])).max()


def test_bias_correction_flattens_a_gradient(image: np.ndarray, brain: np.ndarray) -> None:
    tilted = image * np.linspace(0.7, 1.3, 40, dtype=np.float32)[:, None, None]
    corrected = FileHistory(bias_correction=0.8).apply(tilted, brain, 4 * ZOOMS)
    assert corrected[brain].std() < 0.9 * tilted[brain].std()


def test_histories_repeat_and_most_files_are_as_stored() -> None:
    histories = [random_history(np.random.default_rng(seed)) for seed in range(200)]
    assert histories[7] == random_history(np.random.default_rng(7))
    untouched = sum(history == FileHistory() for history in histories)
    assert 60 < untouched < 140
