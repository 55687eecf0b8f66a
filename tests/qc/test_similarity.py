"""Image similarity: identity, order, and agreement with scikit-image and torchmetrics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity
from torch.nn import functional
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from bids_ihf.qc import similarity as metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALE_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Wang, Simoncelli and Bovik 2003, section 3.2."""


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
    found = metrics.similarity_metrics(target, target, box(target.shape))
    assert found["rmse_mask"] == found["rmse_frame"] == 0
    assert found["psnr_mask"] == float("inf")
    assert found["ms_ssim"] == pytest.approx(1)
    assert found["ms_ssim_scales"] == 5


def test_more_noise_is_worse() -> None:
    target = smooth_volume((176, 176, 4))
    noise = np.random.default_rng(1).normal(size=target.shape)
    mask = box(target.shape)
    found = [metrics.similarity_metrics(target + s * noise, target, mask) for s in (5, 20, 80)]
    for name, sign in {"rmse_mask": 1, "rmse_frame": 1, "psnr_mask": -1, "ms_ssim": -1}.items():
        values = [sign * measures[name] for measures in found]
        assert values == sorted(values), name
        assert len(set(values)) == 3


def test_percentiles_are_those_of_the_target_in_the_mask() -> None:
    target = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    mask = target < 500
    low, high = metrics.intensity_range(target, mask)
    assert (low, high) == pytest.approx(tuple(np.percentile(np.arange(500), (0.1, 99.9))))


def test_error_of_a_known_shift() -> None:
    target = np.tile(np.linspace(0, 1000, 64, dtype=np.float32), (64, 64, 1)).transpose(0, 2, 1)
    mask = np.zeros_like(target, dtype=bool)
    mask[:, 20:40] = True
    low, high = metrics.intensity_range(target, mask)
    # A tenth of the range, where nothing is clipped: RMSE is a tenth of the root of the fraction.
    moved = (target > low) & (target < low + 0.8 * (high - low))
    shifted = np.where(moved, target + 0.1 * (high - low), target)
    found = metrics.similarity_metrics(shifted, target, mask)
    for where, fraction in (("mask", moved[mask].mean()), ("frame", moved.mean())):
        assert 0 < fraction < 1
        expected = 0.1 * np.sqrt(fraction)
        assert found[f"rmse_{where}"] == pytest.approx(expected, rel=1e-5)
        assert found[f"psnr_{where}"] == pytest.approx(-20 * np.log10(expected), rel=1e-5)
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


def test_five_scales_agree_with_torchmetrics() -> None:
    """Contrast at the four finer scales by torchmetrics, the coarsest scale by scikit-image.

    torchmetrics averages the coarsest scale over a padded frame, we where the window fits, as
    scikit-image does; an exponent of 0 leaves that scale out.
    """
    image, reference = (
        np.moveaxis(smooth_volume((208, 192, 2), seed).astype(np.float64) / 1000, 2, 0)
        for seed in (1, 2)
    )
    reference = 0.5 * image + 0.5 * reference
    found, scales = metrics.ms_ssim(image, reference)
    assert scales == 5
    tensors = [torch.from_numpy(data)[:, None] for data in (image, reference)]
    *finer, coarsest = SCALE_EXPONENTS
    contrast = multiscale_structural_similarity_index_measure(
        *tensors, data_range=1.0, betas=(*finer, 0.0), reduction="none"
    )
    small = [functional.avg_pool2d(tensor, 16)[:, 0].numpy() for tensor in tensors]
    for value, product, *pair in zip(found, contrast.numpy(), *small, strict=True):
        similarity = structural_similarity(
            *pair, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
        )
        assert 0.1 < value < 0.9
        assert value == pytest.approx(product * similarity**coarsest, abs=1e-8)


def test_a_single_scale_is_plain_ssim() -> None:
    image, reference = (
        smooth_volume((2, 14, 15), seed).astype(np.float64) / 1000 for seed in (1, 2)
    )
    found, scales = metrics.ms_ssim(image, reference)
    assert scales == 1
    for value, *pair in zip(found, image, reference, strict=True):
        expected = structural_similarity(
            *pair, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
        )
        # The exponents of the five scales are scaled to keep their sum, which is 1.0001.
        assert value == pytest.approx(max(expected, 0) ** 1.0001, abs=1e-10)


@pytest.mark.parametrize(("side", "scales"), [(11, 1), (20, 1), (21, 2), (160, 4), (161, 5)])
def test_small_slices_have_fewer_scales(side: int, scales: int) -> None:
    assert metrics.usable_scales(side) == scales


def test_fewer_scales_are_told(caplog: pytest.LogCaptureFixture) -> None:
    data = smooth_volume((2, 44, 60)).astype(np.float64) / 1000
    with caplog.at_level(logging.INFO, "bids_ihf"):
        found, scales = metrics.ms_ssim(data, data)
    assert scales == 3
    assert "3 instead of 5" in caplog.text
    np.testing.assert_allclose(found, 1)


def test_units_of_the_target_rule() -> None:
    target = smooth_volume((44, 44, 4))
    other = smooth_volume((44, 44, 4), 5)
    mask = box(target.shape)
    found = metrics.similarity_metrics(other, target, mask)
    scaled = metrics.similarity_metrics(other * 7 + 3, target * 7 + 3, mask)
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
        metrics.similarity_metrics(image, image if target is None else target, mask)
