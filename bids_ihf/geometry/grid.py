"""Voxel grids in world space (RAS, mm) and the interpolation from one to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bids_ihf.io.affines import corner_points, voxel_sizes

Box = tuple[slice, slice, slice]

VOXEL_TOLERANCE = 1e-4
"""Distance, in voxels, below which a point counts as lying on a voxel centre."""


def _spatial_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = (int(size) for size in shape[:3])
    return x, y, z


@frozen(eq=False)
class Grid:
    """A box of voxels in world space.

    Attributes
    ----------
    shape
        (X, Y, Z); of a longer shape the first three axes are taken.
    affine
        Voxel indices to world RAS mm, (4, 4).

    Examples
    --------
    >>> grid = Grid((10, 20, 30, 6), np.diag([2.0, 2.0, 3.0, 1.0]))
    >>> grid.shape, grid.zooms
    ((10, 20, 30), array([2., 2., 3.]))
    >>> grid.crop((slice(5, 10), slice(0, 20), slice(10, 30))).affine[:3, 3]
    array([10.,  0., 30.])
    """

    shape: tuple[int, int, int] = field(converter=_spatial_shape)
    affine: NDArray[np.float64]

    @property
    def zooms(self) -> NDArray[np.float64]:
        """Voxel size (3,) along each axis, mm."""
        return voxel_sizes(self.affine)

    def crop(self, box: Box) -> Grid:
        """Return the grid of the voxels inside `box`."""
        starts = [axis.start for axis in box]
        sizes = [axis.stop - axis.start for axis in box]
        return Grid(sizes, shifted_affine(self.affine, starts))


def shifted_affine(affine: NDArray[np.float64], offset: ArrayLike) -> NDArray[np.float64]:
    """Affine (4, 4) of the grid whose first voxel has the index `offset` (3,) in this one."""
    shifted = affine.copy()
    shifted[:3, 3] += shifted[:3, :3] @ np.asarray(offset)
    return shifted


def inverse_affine(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse (4, 4) of an affine map of points."""
    return np.asarray(np.linalg.inv(affine), dtype=np.float64)


def bounding_box_on(mask: NDArray[np.bool_], source: Grid, target: Grid) -> Box | None:
    """Smallest box of `target` that holds all true voxels of a mask on `source`, one voxel wider.

    None where the mask is empty or lies outside the target.
    """
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return None
    corners = np.stack(np.meshgrid(*[(s.start - 1, s.stop) for s in boxes[0]])).reshape(3, -1)
    voxels = np.linalg.inv(target.affine) @ source.affine @ np.vstack([corners, np.ones(8)])
    low, high = np.floor(voxels[:3].min(axis=1)), np.ceil(voxels[:3].max(axis=1))
    x, y, z = (
        slice(int(max(first, 0)), int(min(last + 1, size)))
        for first, last, size in zip(low, high, target.shape, strict=True)
    )
    if any(axis.start >= axis.stop for axis in (x, y, z)):
        return None
    return x, y, z


def resample(
    data: NDArray[np.floating],
    source: Grid,
    target: Grid,
    *,
    target_to_source: NDArray[np.float64] | None = None,
    order: int = 1,
) -> NDArray[np.float32]:
    """Resample `data` from one grid to another by splines; zero outside the source.

    Where every target voxel lies on a source voxel, values are copied without interpolation.

    Parameters
    ----------
    data
        Values on the source grid, (X, Y, Z).
    source, target
        The two grids.
    target_to_source
        Map of points (4, 4) from the world of `target` to that of `source`, mm; None where both
        share one.
    order
        Degree of the spline.
    """
    world = np.eye(4) if target_to_source is None else target_to_source
    voxels = np.linalg.inv(source.affine) @ world @ target.affine
    whole = np.rint(voxels)
    extent = np.array([*target.shape, 1.0])
    on_voxels = np.abs((voxels - whole) * extent).max() < VOXEL_TOLERANCE
    if on_voxels and _is_signed_permutation(whole[:3, :3]):
        return _copy(data, whole, target.shape)
    out: NDArray[np.float32] = ndimage.affine_transform(
        np.asarray(data, dtype=np.float32),
        voxels[:3, :3],
        offset=voxels[:3, 3],
        output_shape=target.shape,
        order=order,
        output=np.float32,
    )
    return out


def resample_within(
    data: NDArray[np.floating],
    mask: NDArray[np.bool_],
    source: Grid,
    target: Grid,
    *,
    target_to_source: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """As `resample`, linearly, but only in the box that holds a mask on `source`; 0 outside it."""
    placed = source
    if target_to_source is not None:
        placed = Grid(source.shape, inverse_affine(target_to_source) @ source.affine)
    resampled = np.zeros(target.shape, dtype=np.float32)
    box = bounding_box_on(mask, placed, target)
    if box is not None:
        resampled[box] = resample(
            data, source, target.crop(box), target_to_source=target_to_source
        )
    return resampled


def canonical_grid(
    shape: tuple[int, ...], affine: NDArray[np.float64], *, zoom: float = 1.0
) -> Grid:
    """The RAS-oriented grid of isotropic voxels that covers the box of another grid.

    Where the voxels already have that size along the world's axes, the grid lies on them, so that
    `resample` only permutes and flips.

    Parameters
    ----------
    shape, affine
        The grid to cover.
    zoom
        Voxel size, mm.
    """
    matrix = affine[:3, :3]
    corners = corner_points(shape, affine)
    low, high = corners.min(axis=1), corners.max(axis=1)
    aligned = np.allclose(np.sort(np.abs(matrix), axis=1)[:, :2], 0, atol=VOXEL_TOLERANCE)
    if not (aligned and np.allclose(np.abs(matrix).max(axis=1), zoom, rtol=VOXEL_TOLERANCE)):
        # Up to the outer faces of the corner voxels, not only to their centres.
        margin = np.abs(matrix).sum(axis=1) / 2 - zoom / 2
        low, high = low - np.maximum(margin, 0), high + np.maximum(margin, 0)
    sizes = [max(1, int(n) + 1) for n in np.ceil((high - low) / zoom - VOXEL_TOLERANCE)]
    out = np.diag([zoom, zoom, zoom, 1.0])
    out[:3, 3] = low
    return Grid(sizes, out)


def _is_signed_permutation(matrix: NDArray[np.float64]) -> bool:
    magnitude = np.abs(matrix)
    return bool((magnitude.sum(axis=0) == 1).all() and (magnitude.sum(axis=1) == 1).all())


def _copy(
    data: NDArray[np.floating], target_to_source: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Permute, flip and crop or pad by a signed permutation of voxel indices."""
    axes = np.abs(target_to_source[:3, :3]).argmax(axis=0)  # the source axis of each target axis
    signs = target_to_source[axes, [0, 1, 2]]
    permuted = np.asarray(data, dtype=np.float32).transpose(axes)
    out = np.zeros(shape, dtype=np.float32)
    target_indices, source_indices = [], []
    for axis, (size, sign) in enumerate(zip(shape, signs, strict=True)):
        index = target_to_source[axes[axis], 3] + sign * np.arange(size)
        inside = np.flatnonzero((index >= 0) & (index < permuted.shape[axis]))
        target_indices.append(inside)
        source_indices.append(index[inside].astype(np.intp))
    out[np.ix_(*target_indices)] = permuted[np.ix_(*source_indices)]
    return out
