"""The measures: identity, order, and agreement with scikit-image at one scale."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from bids_ihf.lab.benchmarks.metrics import similarity as metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray


def smooth_volume(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, 3)
    return ((smooth - smooth.min()) / np.ptp(smooth) * 900 + 50).astype(np.float32)


def box(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(side // 4, 3 * side // 4) for side in shape)] = True
    return mask


def test_equal_images_are_perfect() -> None:
    target = smooth_volume((180, 182, 6))
    found = metrics.evaluate_pair(target, target, box(target.shape))
    assert found["rmse_mask"] == found["rmse_frame"] == 0
    assert found["psnr_mask"] == float("inf")
    assert found["ms_ssim"] == pytest.approx(1)
    assert found["ms_ssim_scales"] == 5


def test_more_noise_is_worse() -> None:
    target = smooth_volume((176, 176, 4))
    noise = np.random.default_rng(1).normal(size=target.shape)
    mask = box(target.shape)
    found = [metrics.evaluate_pair(target + s * noise, target, mask) for s in (5, 20, 80)]
    for name, sign in {"rmse_mask": 1, "rmse_frame": 1, "psnr_mask": -1, "ms_ssim": -1}.items():
        values = [sign * measures[name] for measures in found]
        assert values == sorted(values), name
        assert len(set(values)) == 3


def test_percentiles_are_those_of_the_target_in_the_mask() -> None:
    target = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    mask = target < 500
    low, high = metrics.target_range(target, mask)
    assert (low, high) == pytest.approx(tuple(np.percentile(np.arange(500), (0.1, 99.9))))


def test_error_of_a_known_shift() -> None:
    target = np.tile(np.linspace(0, 1000, 64, dtype=np.float32), (64, 64, 1)).transpose(0, 2, 1)
    mask = np.zeros_like(target, dtype=bool)
    mask[:, 20:40] = True
    low, high = metrics.target_range(target, mask)
    shifted = target + 0.1 * (high - low)
    found = metrics.evaluate_pair(shifted, target, mask & (target < low + 0.8 * (high - low)))
    assert 0.05 < found["rmse_mask"] < 0.2
    ones, tenths = np.ones(10), np.full(10, 0.9)
    assert metrics.psnr(ones, tenths) == pytest.approx(20)
    assert metrics.rmse(ones, tenths) == pytest.approx(0.1)


def test_one_scale_agrees_with_scikit_image() -> None:
    ours = smooth_volume((40, 50, 3), 1) / 1000
    theirs = smooth_volume((40, 50, 3), 2) / 1000
    found, _ = metrics.ssim(*(np.moveaxis(a.astype(np.float64), 2, 0) for a in (ours, theirs)))
    for index, value in enumerate(found):
        expected = structural_similarity(
            ours[:, :, index].astype(np.float64),
            theirs[:, :, index].astype(np.float64),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
        )
        assert value == pytest.approx(expected, abs=1e-10)


def test_a_single_scale_is_plain_ssim() -> None:
    ours, theirs = (smooth_volume((2, 14, 15), seed).astype(np.float64) / 1000 for seed in (1, 2))
    found, scales = metrics.ms_ssim(ours, theirs)
    expected, _ = metrics.ssim(ours, theirs)
    assert scales == 1
    np.testing.assert_allclose(found, np.maximum(expected, 0) ** sum(metrics.WEIGHTS))


@pytest.mark.parametrize(("side", "scales"), [(11, 1), (20, 1), (21, 2), (160, 4), (161, 5)])
def test_small_slices_have_fewer_scales(side: int, scales: int) -> None:
    assert metrics.usable_scales(side) == scales


def test_fewer_scales_are_told(caplog: pytest.LogCaptureFixture) -> None:
    data = smooth_volume((2, 44, 60)).astype(np.float64) / 1000
    with caplog.at_level(logging.WARNING, "bids_ihf"):
        found, scales = metrics.ms_ssim(data, data)
    assert scales == 3
    assert "3 instead of 5" in caplog.text
    np.testing.assert_allclose(found, 1)


def test_units_of_the_target_rule() -> None:
    target = smooth_volume((44, 44, 4))
    other = smooth_volume((44, 44, 4), 5)
    mask = box(target.shape)
    found = metrics.evaluate_pair(other, target, mask)
    scaled = metrics.evaluate_pair(other * 7 + 3, target * 7 + 3, mask)
    for name, value in found.items():
        assert scaled[name] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize(
    ("shape", "mask", "target", "reason"),
    [
        ((20, 20, 3), np.zeros((20, 20, 3), dtype=bool), None, "empty"),
        ((20, 20, 3), np.ones((20, 20, 3), dtype=bool), np.ones((20, 20, 3)), "constant"),
        ((20, 20, 3), np.ones((20, 20, 4), dtype=bool), None, "shapes"),
        ((8, 20, 3), np.ones((8, 20, 3), dtype=bool), None, "window"),
    ],
)
def test_what_cannot_be_measured(
    shape: tuple[int, ...],
    mask: NDArray[np.bool_],
    target: NDArray[np.floating] | None,
    reason: str,
) -> None:
    image = smooth_volume(shape)
    with pytest.raises(ValueError, match=reason):
        metrics.evaluate_pair(image, image if target is None else target, mask)
