from __future__ import annotations

import numpy as np
import pytest

from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.preprocessing.bias_field import bias_field
from tests.preprocessing.conftest import small_brain


def slope(grid: Grid) -> np.ndarray:
    """A known smooth field, e^0.7 from one end to the other."""
    index = np.indices(grid.shape)
    return np.exp(0.7 * index[1] / grid.shape[1] + 0.2 * index[2] / grid.shape[2]).astype("f4")


def test_known_field_is_taken_off_most() -> None:
    brain, grid, mask = small_brain()
    known = slope(grid)
    with_it = np.log(bias_field(brain * known, grid.affine, mask, shrink=6)[mask])
    without = np.log(bias_field(brain, grid.affine, mask, shrink=6)[mask])
    truth = np.log(known[mask])
    left = (with_it - without) - truth
    assert left.std() < 0.3 * truth.std()


def test_mean_is_one_and_field_is_smooth_outside() -> None:
    brain, grid, mask = small_brain()
    field = bias_field(brain * slope(grid), grid.affine, mask, shrink=6)
    assert field.shape == brain.shape
    assert field.dtype == np.float32
    assert abs(np.log(field[mask]).mean()) < 1e-4
    assert np.isfinite(field).all()
    assert field.min() >= 0.5 * field[mask].min()
    assert field.max() <= 2 * field[mask].max()
    assert max(np.abs(np.diff(np.log(field), axis=a)).max() for a in range(3)) < 0.1


def test_thick_slices() -> None:
    brain, grid, mask = small_brain()
    thick = Grid((*grid.shape[:2], 22), grid.affine @ np.diag([1, 1, 8 / 3, 1.0]))
    data = resample(brain * slope(grid), grid, thick)
    inside = resample(mask.astype("f4"), grid, thick) > 0.5
    field = bias_field(data, thick.affine, inside, shrink=6)
    assert np.corrcoef(np.log(field[inside]), np.log(slope(thick)[inside]))[0, 1] > 0.9


def test_too_little_to_go_by_gives_ones() -> None:
    data = np.ones((10, 10, 10), dtype=np.float32)
    mask = np.zeros(data.shape, dtype=bool)
    mask[4:6, 4:6, 4:6] = True
    assert (bias_field(data, np.eye(4), mask) == 1).all()


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_field_does_not_depend_on_units(unit: float) -> None:
    brain, grid, mask = small_brain()
    data = brain * slope(grid)
    field, scaled = (
        bias_field(each, grid.affine, mask, shrink=6) for each in (data, data * np.float32(unit))
    )
    np.testing.assert_allclose(scaled, field, rtol=1e-3)


def test_a_slab_gets_the_finer_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def no_n4(values: np.ndarray, _: np.ndarray, grid: Grid) -> np.ndarray:
        sizes.append(float(grid.zooms[0]))
        return np.zeros_like(values)

    monkeypatch.setattr("bids_ihf.preprocessing.bias_field._n4", no_n4)
    brain, grid, mask = small_brain()
    slab = mask.copy()
    slab[:, :, : 2 * grid.shape[2] // 3] = False
    for part in (mask, slab):
        bias_field(brain, grid.affine, part)
    assert sizes == [6.0, 4.0]
