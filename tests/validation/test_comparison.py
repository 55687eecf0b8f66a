"""Alignment and comparison of images: a small brain of blobs, moved and bent."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.geometry.grid import Grid
from bids_ihf.io.nifti import Volume
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.intensity import robust_scale
from bids_ihf.targets.network_input import NetworkInput
from bids_ihf.validation.comparison import compare_images
from bids_ihf.validation.features import band_strengths, shape_features

SIZE = 40
RADIUS_MM = 14


def blobs() -> NDArray[np.float32]:
    """Structure of a few voxels, 1 mm, inside the brain and around it."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(SIZE,) * 3), 3.5)
    return (400 + 5000 * noise).clip(1).astype(np.float32)


def ball() -> NDArray[np.bool_]:
    axes = np.indices((SIZE,) * 3) - SIZE / 2
    return np.asarray(np.square(axes).sum(axis=0) < RADIUS_MM**2)


def moved(data: NDArray[np.floating], bend_mm: float = 1.5) -> NDArray[np.float32]:
    """An image shifted by 2 and 1 mm, and bent by a smooth wave."""
    points = np.indices(data.shape).astype(np.float64)
    points[0] += 2 + bend_mm * np.sin(points[1] / 6)
    points[1] += 1
    return ndimage.map_coordinates(
        data.astype(np.float32), points, order=1, mode="nearest"
    ).astype(np.float32)


def scan(data: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[Prepared, NetworkInput]:
    """An image in template space, as prepared and on the network's grid."""
    affine = np.eye(4)
    affine[:3, 3] = -SIZE / 2
    volume = Volume(data, affine, nibabel.Nifti1Header(), Path("sub-01_T1w.nii.gz"))
    ones = np.ones_like(data)
    prepared = Prepared(volume, ones, mask, None, True, np.eye(4), None)
    grid = Grid(data.shape, affine)
    on_grid = NetworkInput(data, mask.astype(np.float32), grid, robust_scale(data, mask))
    return prepared, on_grid


@pytest.fixture(scope="module")
def metrics() -> dict[str, dict[str, float]]:
    """A bent image with another contrast, as it is, and by a method that knows the contrast."""
    image, mask = blobs(), ball()
    _, truth = scan(image, mask)
    bent = moved(image)
    other = (30 * np.sqrt(bent)).astype(np.float32)
    prepared, source = scan(other, moved(mask) > 0.5)
    images = {"untouched": other, "perfect": bent, "half": (0.7 * bent + 100).astype(np.float32)}
    return compare_images(images, prepared, source, truth, own_range="untouched", deformable=True)


def test_the_right_contrast_is_nearest_after_either_alignment(
    metrics: dict[str, dict[str, float]],
) -> None:
    for suffix in ("", "_deformable"):
        errors = {method: values[f"rmse{suffix}"] for method, values in metrics.items()}
        assert errors["perfect"] < min(errors["half"], errors["untouched"])
        assert metrics["perfect"][f"ms_ssim{suffix}"] > metrics["untouched"][f"ms_ssim{suffix}"]


def test_what_is_bent_is_aligned_deformably(metrics: dict[str, dict[str, float]]) -> None:
    """By an image of another contrast than the one that is measured."""
    assert metrics["perfect"]["rmse_deformable"] < 0.95 * metrics["perfect"]["rmse"]
    assert metrics["perfect"]["psnr_deformable"] > metrics["perfect"]["psnr"]


def test_blur_takes_fine_detail_away_and_leaves_the_shape() -> None:
    noise = np.random.default_rng(1).normal(0, 30, (SIZE,) * 3)
    image, mask = (blobs() + noise).astype(np.float32), ball()
    _, sharp = scan(image, mask)
    _, smooth = scan(ndimage.gaussian_filter(image, 1.5), mask)
    fine, coarse = band_strengths(sharp), band_strengths(smooth)
    assert coarse[0] < fine[0] - 0.5
    assert np.array_equal(shape_features(sharp), shape_features(smooth))
