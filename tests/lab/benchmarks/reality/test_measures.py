"""Measures of slices whose noise, blur, contrast and bias are set."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.lab.benchmarks.reality.measured_slices import MeasuredSlices, voxel_class_of
from bids_ihf.lab.benchmarks.reality.measures import MEASURES, measure_scan

SIDE, SLICES = 144, 4
ZOOMS = np.array([1.0, 1.0, 4.0])
WHITE_LEVEL = 400.0


def disc_slices(
    *,
    grey: float = 0.7,
    csf: float = 0.25,
    blur_mm: float = 0.0,
    noise: float = 0.0,
    bias: float = 0.0,
) -> MeasuredSlices:
    """White matter around a ventricle, within a ribbon of grey matter and a rim of CSF."""
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    radius = np.hypot(axis[:, None], axis)[:, :, None] + np.zeros(SLICES)
    tissues = np.select(
        [radius < 16, radius < 52, radius < 60, radius < 68], [csf, 1.0, grey, csf], default=0.0
    )
    sigma = blur_mm / 2.3548
    image = ndimage.gaussian_filter(tissues, (sigma, sigma, 0))
    field = np.exp(bias * np.sqrt(3) * axis[:, None, None] / 52)
    rng = np.random.default_rng(0)
    image = image * field + noise * rng.standard_normal(image.shape)
    data = (WHITE_LEVEL * image).astype(np.float32)
    corrected = (data / field).astype(np.float32)
    return MeasuredSlices("T1w", "1 mm", data, corrected, radius < 68, None, ZOOMS)


def measured(**settings: float) -> dict[str, float]:
    return measure_scan(disc_slices(**settings))


def test_all_measures_are_taken() -> None:
    values = measured(noise=0.02)
    assert set(values) == set(MEASURES)
    assert all(np.isfinite(value) for value in values.values())


@pytest.mark.parametrize("level", [0.01, 0.03])
def test_noise_is_found_whatever_the_blur(level: float) -> None:
    for blur_mm in (0.0, 2.0):
        assert measured(noise=level, blur_mm=blur_mm)["noise"] == pytest.approx(level, rel=0.15)


def test_contrast_is_relative_to_white_matter() -> None:
    values = measured(noise=0.01, blur_mm=1.0, grey=0.75, csf=0.2)
    assert values["grey_to_white"] == pytest.approx(0.75, abs=0.02)
    assert values["csf_to_white"] == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("name", ["edge_grey_white_mm", "edge_ventricle_mm"])
def test_the_width_of_edges_grows_with_blur(name: str) -> None:
    widths = {blur: measured(noise=0.01, blur_mm=blur)[name] for blur in (0.0, 2.0, 3.0)}
    # A sharp border has the width of the voxel and of linear interpolation.
    assert widths[0.0] < 1.6
    for blur in (2.0, 3.0):
        assert widths[blur] == pytest.approx(np.hypot(blur, widths[0.0]), rel=0.15)


def test_bias_is_the_variation_in_white_matter() -> None:
    assert measured(noise=0.01)["bias_before"] < 0.003
    slices = disc_slices(noise=0.01, bias=0.1)
    white = white_matter(slices)
    columns = np.broadcast_to(np.arange(SIDE)[:, None, None], white.shape)[white]
    expected = 0.1 * np.sqrt(3) / 52 * columns.std()
    values = measure_scan(slices)
    assert values["bias_before"] == pytest.approx(expected, rel=0.1)
    assert values["bias_after"] < 0.003


def white_matter(slices: MeasuredSlices) -> NDArray[np.bool_]:
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    radius = np.hypot(axis[:, None], axis)[:, :, None] + np.zeros(slices.mask.shape[2])
    return (radius > 18) & (radius < 50)


def test_texture_is_found_at_its_wavelength() -> None:
    slices = disc_slices(noise=0.002)
    waves = 0.02 * np.sqrt(2) * np.sin(2 * np.pi * np.arange(SIDE) / 8)[:, None, None]
    textured = (slices.corrected * (1 + waves)).astype(np.float32)
    values = measure_scan(
        MeasuredSlices("T1w", "1 mm", textured, textured, slices.mask, None, ZOOMS)
    )
    bands = [values[f"texture_white_{wavelength}mm"] for wavelength in (2, 4, 8, 16)]
    assert int(np.argmax(bands)) == 2
    assert bands[2] > 3 * bands[0]


def test_few_grey_levels_have_no_zero_noise() -> None:
    slices = disc_slices(noise=0.01)
    step = 0.04 * WHITE_LEVEL
    coarse = (np.round(slices.corrected / step) * step).astype(np.float32)
    values = measure_scan(MeasuredSlices("T1w", "1 mm", coarse, coarse, slices.mask, None, ZOOMS))
    assert values["noise"] > 0.002


@pytest.mark.parametrize(
    ("shape", "zooms", "expected"),
    [
        ((256, 256, 256), (1.0, 1.0, 1.0), "1 mm"),
        ((160, 192, 192), (1.0, 1.33, 1.33), "1 mm"),
        ((120, 120, 90), (2.0, 2.0, 2.0), "2 mm"),
        ((128, 128, 30), (1.56, 1.56, 5.0), "thick"),
        ((182, 218, 3), (1.0, 1.0, 1.0), "slice"),
    ],
)
def test_classes_of_voxels(
    shape: tuple[int, ...], zooms: tuple[float, ...], expected: str
) -> None:
    assert voxel_class_of(shape, np.array(zooms)) == expected
