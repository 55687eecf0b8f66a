from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff
from scipy.spatial.transform import Rotation

from bids_ihf.geometry.grid import (
    Grid,
    bounding_box_on,
    canonical_grid,
    inverse_affine,
    resample,
    resample_within,
    shifted_affine,
)

ORNTS = st.permutations([0, 1, 2]).flatmap(
    lambda axes: st.tuples(*[st.sampled_from([-1, 1])] * 3).map(
        lambda flips: np.array(list(zip(axes, flips, strict=True)), dtype=float)
    )
)


def noise(shape: tuple[int, int, int] = (5, 6, 7)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def grid(shape: tuple[int, int, int] = (5, 6, 7), zooms: tuple[float, ...] = (1, 1, 1)) -> Grid:
    affine = np.diag([*zooms, 1.0])
    affine[:3, 3] = [-10.3, 4.7, 20.1]
    return Grid(shape, affine)


def test_identity_is_an_exact_copy() -> None:
    data = noise()
    out = resample(data, grid(), grid())
    assert np.array_equal(out, data)
    assert not np.shares_memory(out, data)


@settings(deadline=None, max_examples=48)
@given(ornt=ORNTS)
def test_signed_permutations_are_exact(ornt: np.ndarray) -> None:
    data = noise()
    source = grid(zooms=(0.8, 1.3, 2.1))
    turned = apply_orientation(data, ornt)
    affine = source.affine @ inv_ornt_aff(ornt, data.shape)
    target = Grid(turned.shape, affine)
    assert np.array_equal(resample(data, source, target), turned)
    assert np.array_equal(resample(turned, target, source), data)


def test_whole_voxel_shifts_cut_and_pad() -> None:
    data = noise()
    shifted = Grid((5, 6, 7), grid().affine.copy())
    shifted.affine[:3, 3] += [2, -1, 0]
    out = resample(data, grid(), shifted)
    assert np.array_equal(out[:3, 1:], data[2:, :5])
    assert (out[3:] == 0).all()
    assert (out[:, 0] == 0).all()


@pytest.mark.parametrize("order", [1, 3])
def test_linear_field_is_found_again_through_a_rotation(order: int) -> None:
    source = Grid((20, 22, 24), grid(zooms=(1.0, 1.2, 1.4)).affine)
    world = np.eye(4)
    world[:3, :3] = Rotation.from_euler("xyz", [10, 20, -15], degrees=True).as_matrix()
    world[:3, 3] = [1, 2, 3]
    target = Grid((6, 6, 6), np.eye(4))
    target.affine[:3, 3] = (inverse_affine(world) @ source.affine @ [10, 11, 12, 1])[:3] - 3

    def field(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        points = np.indices(shape).reshape(3, -1)
        x, y, z = affine[:3, :3] @ points + affine[:3, 3:]
        return (0.3 * x - 0.2 * y + 0.1 * z).reshape(shape)

    data = field(source.affine, source.shape)
    out = resample(data, source, target, target_to_source=world, order=order)
    assert np.abs(out - field(world @ target.affine, target.shape)).max() < 1e-3


def test_outside_is_zero() -> None:
    far = Grid((2, 2, 2), grid().affine.copy())
    far.affine[:3, 3] += 100.5
    assert (resample(noise(), grid(), far) == 0).all()


@settings(deadline=None, max_examples=48)
@given(ornt=ORNTS)
def test_canonical_keeps_voxels_of_aligned_millimetre_grids(ornt: np.ndarray) -> None:
    data = noise()
    affine = grid().affine @ inv_ornt_aff(ornt, data.shape)
    turned = apply_orientation(data, ornt)
    canonical = canonical_grid(turned.shape, affine)
    assert canonical.shape == data.shape
    assert np.allclose(canonical.affine, grid().affine)
    assert np.array_equal(resample(turned, Grid(turned.shape, affine), canonical), data)


def test_canonical_covers_an_oblique_box() -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [30, 10, 5], degrees=True).as_matrix()
    affine[:3, :3] @= np.diag([0.9, 1.0, 5.0])
    canonical = canonical_grid((10, 12, 6), affine, zoom=1.0)
    corners = np.array(np.meshgrid((0, 9), (0, 11), (0, 5))).reshape(3, -1)
    world = affine[:3, :3] @ corners + affine[:3, 3:]
    index = (inverse_affine(canonical.affine) @ np.vstack([world, np.ones(8)]))[:3]
    assert index.min() >= -1e-6
    assert (index.max(axis=1) <= np.array(canonical.shape) - 1 + 1e-6).all()
    assert np.allclose(canonical.zooms, 1.0)
    assert np.allclose(canonical.affine[:3, :3], np.eye(3))


def test_a_crop_keeps_voxels_where_they_are() -> None:
    source = Grid(
        (5, 6, 7), np.array([[0, -2.0, 0, 9], [1.5, 0, 0, -8], [0, 0, 3, 4], [0, 0, 0, 1]])
    )
    box = (slice(1, 4), slice(0, 5), slice(2, 7))
    crop = source.crop(box)
    assert crop.shape == (3, 5, 5)
    assert np.allclose(crop.affine @ [0, 0, 0, 1], source.affine @ [1, 0, 2, 1])
    data = noise()
    assert np.array_equal(resample(data, source, crop), data[box])
    assert np.allclose(shifted_affine(crop.affine, (-1, 0, -2)), source.affine)


def test_a_series_has_the_grid_of_its_volumes() -> None:
    assert Grid((5, 6, 7, 30), np.eye(4)).shape == (5, 6, 7)


def test_bounding_box_holds_the_mask_on_another_grid() -> None:
    source, target = grid(zooms=(2, 2, 2)), Grid((30, 30, 30), grid().affine)
    mask = np.zeros(source.shape, dtype=bool)
    mask[2:4, 3, 1:5] = True
    box = bounding_box_on(mask, source, target)
    assert box is not None
    on_target = resample(mask.astype(np.float32), source, target) > 0
    assert on_target[box].sum() == on_target.sum() > 0
    assert bounding_box_on(np.zeros_like(mask), source, target) is None
    far = Grid((3, 3, 3), shifted_affine(target.affine, (100, 0, 0)))
    assert bounding_box_on(mask, source, far) is None


def test_what_is_resampled_within_a_mask_is_as_if_all_were() -> None:
    source, target = Grid((20, 22, 18), np.eye(4)), Grid((15, 30, 12), np.diag([1.3, 0.8, 1.7, 1]))
    data = np.zeros(source.shape, dtype=np.float32)
    data[4:12, 5:15, 3:9] = np.random.default_rng(0).random((8, 10, 6))
    moved = np.eye(4)
    moved[:3, 3] = 1.5, -2.0, 0.5
    for world in (None, moved):
        whole = resample(data, source, target, target_to_source=world)
        within = resample_within(data, data > 0, source, target, target_to_source=world)
        np.testing.assert_allclose(within, whole, atol=1e-6)
        assert within.any()
    nothing = resample_within(data, np.zeros(source.shape, dtype=bool), source, target)
    assert nothing.shape == target.shape
    assert not nothing.any()
