"""Alignment finds a motion between scans of unlike contrast."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_ihf.lab.benchmarks.travellers.alignment import apply_warp, estimate_warp
from tests.lab.benchmarks.travellers.conftest import slice_of

LEVELS = (40.0, 110.0, 160.0)


def test_no_warp_changes_nothing() -> None:
    data = slice_of(0, LEVELS)[..., None]
    warp = np.zeros((2, *data.shape), np.float32)
    np.testing.assert_array_equal(apply_warp(data, warp), data)


def test_a_shift_is_found_in_another_contrast() -> None:
    truth = slice_of(0, LEVELS)[..., None]
    shifted = np.roll(slice_of(0, (60.0, 200.0, 420.0)), (2, -1), axis=(0, 1))[..., None]
    warp = estimate_warp(shifted, truth)
    assert warp.shape == (2, *truth.shape)
    moving = np.roll(truth, (2, -1), axis=(0, 1))
    before, after = (
        np.abs(ndimage.gaussian_filter(image - truth, (1, 1, 0)))[truth > 0].mean()
        for image in (moving, apply_warp(moving, warp))
    )
    assert after < 0.5 * before
    np.testing.assert_array_equal(estimate_warp(shifted, truth), warp)
