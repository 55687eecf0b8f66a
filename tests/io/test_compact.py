"""Images in whole steps: no finer than their noise, and the scan back to 1e-5 of its maximum."""

from __future__ import annotations

import gzip
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from bids_ihf.errors import BadData
from bids_ihf.io.compact import (
    Encoding,
    StepOverflowError,
    choose_steps,
    encode_compact,
    find_step,
    noise_sd,
    steps_of_change_map,
)
from bids_ihf.io.nifti import Volume

Array = NDArray[np.float32]
NOISE_SD = 12.0


def scan(dtype: Any = np.int16, scale: float = 1.0) -> Array:
    """A smooth head of noise 12, in a background of air."""
    rng = np.random.default_rng(0)
    radius = np.linalg.norm(np.mgrid[-1:1:40j, -1:1:44j, -1:1:36j], axis=0)
    head = np.where(radius < 0.8, 800 - 300 * radius, 0)
    noisy = np.hypot(head + rng.normal(0, NOISE_SD, head.shape), rng.normal(0, 4, head.shape))
    return (noisy.astype(dtype) * scale).astype(np.float32)


def harmonized(original: Array) -> Array:
    return (2.7 * original**0.9 + 5 * np.sin(original / 200)).astype(np.float32)


def written(image: Array, original: Array, header: Any = None) -> tuple[Any, Any]:
    volume = Volume(original, np.eye(4), header or nibabel.Nifti1Header(), None)  # type: ignore[arg-type]
    files = encode_compact(image, original, volume)[:2]
    images = [nibabel.Nifti1Image.from_bytes(gzip.decompress(file)) for file in files]
    return images[0], images[1]


def restored(image: Any, change: Any) -> Array:
    steps = steps_of_change_map(change.header, change.dataobj.slope)
    assert steps is not None
    return steps.restored(image.get_fdata(), change.get_fdata())


@pytest.mark.parametrize("scale", [1.0, 0.25, 2.5549451])
def test_a_scan_of_whole_numbers_comes_back_to_the_bit(scale: float) -> None:
    original = scan(scale=scale)
    image, change = written(harmonized(original), original)
    assert image.get_data_dtype().itemsize == change.get_data_dtype().itemsize == 2
    error = np.abs(restored(image, change) - original).max()
    assert error == 0 if scale != 2.5549451 else error <= 1e-6 * original.max()


@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e9])
def test_any_other_scan_comes_back_to_1e_5_of_its_maximum(scale: float) -> None:
    original = scan(np.float32, scale)
    image, change = written(harmonized(original / np.float32(scale)), original)
    assert 0 < np.abs(restored(image, change) - original).max() <= 1e-5 * original.max()


def test_the_stored_image_is_within_half_a_step_and_a_step_within_the_noise() -> None:
    original = scan()
    expected = harmonized(original)
    image, _ = written(expected, original)
    step = float(image.dataobj.slope)
    assert np.abs(image.get_fdata() - expected).max() <= step / 2 * (1 + 1e-5)
    assert step <= noise_sd(expected) / 3
    assert step > noise_sd(expected) / 6  # the largest power of two
    assert noise_sd(original) == pytest.approx(NOISE_SD, rel=0.15)


def test_a_resaved_image_restores_too() -> None:
    original = scan()
    image, change = written(harmonized(original), original)
    steps = steps_of_change_map(change.header, change.dataobj.slope)
    assert steps is not None
    single = image.get_fdata(dtype=np.float32)
    np.testing.assert_array_equal(steps.restored(single, change.get_fdata()), original)


def test_images_without_noise_or_signal() -> None:
    ramp = np.broadcast_to(np.arange(30, dtype=np.float32), (30, 30, 30)).copy()
    image, change = written(ramp * np.float32(1 / 3), ramp)
    assert np.abs(image.get_fdata() - ramp / 3).max() <= 2e-5 * ramp.max()
    np.testing.assert_array_equal(restored(image, change), ramp)
    flat = np.zeros((4, 4, 4), np.float32)
    np.testing.assert_array_equal(restored(*written(flat, flat)), flat)


def test_negative_values_and_opposite_units() -> None:
    original = scan() - 50
    image, change = written(-0.01 * original, original)
    np.testing.assert_array_equal(restored(image, change), original)


def test_a_slope_is_found_and_noise_is_no_slope() -> None:
    assert find_step(scan(scale=0.125)) == pytest.approx(0.125)
    assert find_step(scan(np.float32)) is None
    off = scan()
    off[0, 0, 0] += 0.5  # a single voxel
    assert find_step(off) in (None, 0.5)


def test_the_other_byte_order_and_equal_bytes() -> None:
    original, header = scan(), nibabel.Nifti1Header(endianness=">")
    image, change = written(harmonized(original), original, header)
    assert image.header.endianness == ">"
    np.testing.assert_array_equal(restored(image, change), original)
    volume = Volume(original, np.eye(4), header, None)  # type: ignore[arg-type]
    first, second = (encode_compact(harmonized(original), original, volume) for _ in range(2))
    assert first == second


def test_a_plain_difference_has_no_steps_and_a_damaged_header_is_refused() -> None:
    original = scan()
    _, change = written(harmonized(original), original)
    assert steps_of_change_map(nibabel.Nifti1Header(), 1.0) is None
    change.header["intent_p2"] = 0
    with pytest.raises(BadData, match="damaged"):
        steps_of_change_map(change.header, 1.0)


def test_a_later_volume_may_need_wider_integers() -> None:
    steps = np.array([[[0, 30_000]]])
    narrow = Encoding.of_image(steps, 1.0)
    assert narrow.dtype == np.int16
    with pytest.raises(StepOverflowError):
        narrow.voxels(steps + 3000, "<")
    assert Encoding.of_image(steps, 1.0, wide=True).voxels(steps + 3000, "<")
    change = Encoding.of_change(np.array([[[-40_000, 200]]]), 1.0)
    assert change.dtype == np.uint16
    with pytest.raises(StepOverflowError):
        change.voxels(np.array([[[-50_000, 30_000]]]), "<")


def test_steps_of_a_scan_that_says_them() -> None:
    original = scan()
    assert choose_steps(harmonized(original), original, 1.0).source == 1.0
    assert choose_steps(harmonized(original), original, 1e-9).source > 1e-3  # in vain
