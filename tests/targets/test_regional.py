"""The smooth field by which the regions of a scan differ from those of a target."""

from __future__ import annotations

import numpy as np
import pytest

from bids_ihf.targets.profile import position_centre
from bids_ihf.targets.regional import (
    COMPARED_TISSUES,
    MAX_FIELD_RATIO,
    REGION_COUNT,
    Regions,
    empty_regions,
    field_on_grid,
    intensity_field,
    regions_at,
    sum_by_region,
)

POSITIONS = np.arange(-6, 10)
CENTRES = position_centre(POSITIONS)
RNG = np.random.default_rng(0)
PIXELS = 60_000
ROWS = RNG.integers(0, len(POSITIONS), PIXELS)
X, Y = RNG.uniform(-65, 65, PIXELS), RNG.uniform(-90, 65, PIXELS)


def regions_of(gain: np.ndarray | float = 1.0, *, csf: float = 0.1, grey: float = 0.5) -> Regions:
    """Regions of a brain of grey matter, white matter and CSF, whose intensities have a gain."""
    tissue = np.random.default_rng(1).choice(3, PIXELS, p=[grey, 1 - grey - csf, csf])
    level = np.array([0.6, 0.9, 0.15])[tissue] * gain - 1
    return sum_by_region(ROWS, X, Y, level, np.eye(3)[tissue], positions=len(POSITIONS))


def bias(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A field that is up to about 8 % from 1, and 1 in the mean."""
    return 1 + 0.05 * np.sin(x / 50) + 0.04 * y / 90


def test_a_scan_by_the_target_scanner_is_left_alone() -> None:
    np.testing.assert_allclose(intensity_field(regions_of(), regions_of()), 1, atol=1e-6)


def test_a_smooth_bias_is_removed() -> None:
    field = intensity_field(regions_of(bias(X, Y)), regions_of())
    x, y = np.arange(-60.0, 61, 20), np.arange(-80.0, 61, 20)
    on_grid = field_on_grid(field, CENTRES, (x, y, CENTRES[4:-4]))
    truth = 1 / bias(*np.meshgrid(x, y, indexing="ij"))
    assert np.abs(on_grid - truth[..., None]).max() < 0.3 * np.abs(truth - 1).max()
    assert on_grid.dtype == np.float32


@pytest.mark.parametrize(("grey", "csf"), [(0.2, 0.1), (0.6, 0.1), (0.3, 0.4)])
def test_amounts_of_tissue_do_not_change_the_field(grey: float, csf: float) -> None:
    shares = np.array([[0.45, 0.45, 0.1], [grey, 1 - grey - csf, csf]])
    place = (Y > 0).astype(int)  # as in local atrophy
    tissue = (RNG.random(PIXELS)[:, None] > shares.cumsum(axis=1)[place][:, :2]).sum(axis=1)
    level = np.array([0.6, 0.9, 0.15])[tissue] - 1
    other = sum_by_region(ROWS, X, Y, level, np.eye(3)[tissue], positions=len(POSITIONS))
    field = intensity_field(other, regions_of(grey=0.45))
    assert np.abs(field[4:-4, 4:-4, 5:-5] - 1).max() < 0.005


def test_the_field_is_shared_with_the_subject() -> None:
    brighter = regions_of(1.08)
    inside = (slice(4, -4), slice(5, -5), slice(6, -6))
    whole, half, none = (
        intensity_field(brighter, regions_of(), weight)[inside] for weight in (1, 0.5, 0)
    )
    np.testing.assert_allclose(whole, 1 / 1.08, atol=0.01)
    np.testing.assert_allclose(half, 1 / np.sqrt(1.08), atol=0.01)
    np.testing.assert_allclose(none, 1, atol=0.01)
    level = intensity_field(brighter, regions_of(), keeps_level=False)[inside]
    np.testing.assert_allclose(level, 1, atol=0.01)


@pytest.mark.parametrize("gain", [0.2, 5.0])
def test_what_is_no_field_is_bounded(gain: float) -> None:
    lesion = np.where((np.abs(X) < 30) & (np.abs(Y) < 30), gain, 1.0)
    field = intensity_field(regions_of(lesion), regions_of())
    assert field.max() <= MAX_FIELD_RATIO + 1e-9
    assert field.min() >= 1 / MAX_FIELD_RATIO - 1e-9


def test_without_tissue_there_is_no_field() -> None:
    nothing = empty_regions(len(POSITIONS))
    for scan, target in ((nothing, regions_of()), (regions_of(), nothing), (nothing, nothing)):
        np.testing.assert_array_equal(intensity_field(scan, target), 1)


def test_positions_that_a_target_lacks_have_no_tissue() -> None:
    regions = regions_of()
    moved = regions_at(POSITIONS, regions, POSITIONS + 3)
    np.testing.assert_array_equal(moved[:-3], regions[3:])
    assert not moved[-3:].any()
    assert regions.shape == (len(POSITIONS), *REGION_COUNT, COMPARED_TISSUES, 2)


def test_beyond_the_slab_of_a_target_a_scan_is_as_expected() -> None:
    slab = regions_of(0.8)
    slab[8:] = 0
    field = intensity_field(regions_of(0.8), slab)
    np.testing.assert_allclose(field[14:], 1, atol=1e-3)
    assert np.abs(field - 1).mean() < 0.005


def test_slices_beyond_a_slab_do_not_look_like_a_field() -> None:
    darker_above = regions_of(np.where(ROWS < 8, 1.0, 0.8))
    slab = darker_above.copy()
    slab[8:] = 0
    for scan, target in ((darker_above, slab), (slab, darker_above)):
        np.testing.assert_allclose(intensity_field(scan, target), 1, atol=1e-6)
