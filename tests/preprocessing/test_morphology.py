"""Binary morphology by balls, against distance transforms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import isotropic_closing, isotropic_dilation

from bids_ihf.preprocessing import morphology


@pytest.mark.parametrize(
    ("radius_mm", "zoom"),
    [(6.0, 2.0), (12.0, 2.0), (6.0, 4.0), (6.0, 8.0), (5.0, 2.0), (30.0, 2.0)],
)
def test_as_by_the_distance_transform(radius_mm: float, zoom: float) -> None:
    noise = np.random.default_rng(0).standard_normal((24, 30, 20))
    mask = ndimage.gaussian_filter(noise, 2) > 0.12
    dilated = isotropic_dilation(mask, radius_mm, spacing=zoom)
    assert np.array_equal(morphology.dilate(mask, radius_mm, zoom), dilated)
    pad = int(radius_mm / zoom) + 1
    closed = isotropic_closing(np.pad(mask, pad), radius_mm, spacing=zoom)
    expected = closed[pad:-pad, pad:-pad, pad:-pad]
    assert np.array_equal(morphology.close(mask, radius_mm, zoom), expected)


@pytest.mark.parametrize("value", [False, True])
def test_all_or_nothing(value: bool) -> None:
    mask = np.full((4, 5, 6), value)
    assert np.array_equal(morphology.dilate(mask, 6.0, 2.0), mask)
    assert np.array_equal(morphology.close(mask, 6.0, 2.0), mask)
