"""Voxel grids in world space (RAS, mm) and the one interpolation between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Box = tuple[slice, slice, slice]

VOXEL_TOLERANCE = 1e-4
"""Distance from whole voxels, in voxels, that counts as none."""


@frozen(eq=False)
class Grid:
    """A box of voxels; ``affine`` (4, 4) leads from voxel indices to world RAS mm."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def zooms(self) -> NDArray[np.float64]:
        """Voxel size along each axis, mm."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))


def crop_grid(grid: Grid, box: Box) -> Grid:
    """The grid of a part of another's voxels."""
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    x, y, z = (side.stop - side.start for side in box)
    return Grid((x, y, z), affine)


def bounding_box_on(some: NDArray[np.bool_], source: Grid, target: Grid) -> Box | None:
    """The box of another grid that holds all true voxels of this one; none where they miss it."""
    found = ndimage.find_objects(some.astype(np.uint8))
    if not found:
        return None
    ends = np.stack(np.meshgrid(*[(s.start - 1, s.stop) for s in found[0]])).reshape(3, -1)
    there = np.linalg.inv(target.affine) @ source.affine @ np.vstack([ends, np.ones(8)])
    low, high = np.floor(there[:3].min(axis=1)), np.ceil(there[:3].max(axis=1))
    sides = [
        slice(int(max(a, 0)), int(min(b + 1, n)))
        for a, b, n in zip(low, high, target.shape, strict=True)
    ]
    if any(side.start >= side.stop for side in sides):
        return None
    return sides[0], sides[1], sides[2]


def inverse_affine(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The way back of a map of points (4, 4)."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def resample(
    data: NDArray[np.floating],
    source: Grid,
    target: Grid,
    *,
    target_to_source: NDArray[np.float64] | None = None,
    order: int = 1,
    cval: float = 0.0,
) -> NDArray[np.float32]:
    """Bring ``data`` from one grid to another by splines of ``order``; ``cval`` outside.

    ``target_to_source`` (4, 4) leads from the target's world to the source's, mm.  Where every
    target voxel falls on a source voxel, values are copied and not interpolated.
    """
    world = np.eye(4) if target_to_source is None else target_to_source
    voxels = np.linalg.inv(source.affine) @ world @ target.affine
    whole = np.rint(voxels)
    reach = np.array([*target.shape, 1.0])
    if np.abs((voxels - whole) * reach).max() < VOXEL_TOLERANCE and _is_signed_permutation(
        whole[:3, :3]
    ):
        return _copy(data, whole, target.shape, cval)
    out: NDArray[np.float32] = ndimage.affine_transform(
        np.asarray(data, dtype=np.float32),
        voxels[:3, :3],
        offset=voxels[:3, 3],
        output_shape=target.shape,
        order=order,
        cval=cval,
        output=np.float32,
    )
    return out


def canonical_grid(
    shape: tuple[int, ...], affine: NDArray[np.float64], *, zoom: float = 1.0
) -> Grid:
    """The RAS-oriented grid of isotropic ``zoom`` (mm) that covers a box of voxels.

    Where the voxels already have that size along the world's axes, the grid lies on them, so that
    :func:`resample` only permutes and flips.
    """
    rotation = affine[:3, :3]
    ends = np.array(np.meshgrid(*[(0, size - 1) for size in shape[:3]])).reshape(3, -1)
    world = rotation @ ends + affine[:3, 3:]
    low, high = world.min(axis=1), world.max(axis=1)
    aligned = np.allclose(np.sort(np.abs(rotation), axis=1)[:, :2], 0, atol=VOXEL_TOLERANCE)
    if not (aligned and np.allclose(np.abs(rotation).max(axis=1), zoom, rtol=VOXEL_TOLERANCE)):
        # Half a voxel more on each side: the box of the voxels, not of their centres.
        edge = np.abs(rotation).sum(axis=1) / 2 - zoom / 2
        low, high = low - np.maximum(edge, 0), high + np.maximum(edge, 0)
    sizes = [max(1, int(n) + 1) for n in np.ceil((high - low) / zoom - VOXEL_TOLERANCE)]
    out = np.diag([zoom, zoom, zoom, 1.0])
    out[:3, 3] = low
    return Grid((sizes[0], sizes[1], sizes[2]), out)


def _is_signed_permutation(matrix: NDArray[np.float64]) -> bool:
    magnitude = np.abs(matrix)
    return bool((magnitude.sum(axis=0) == 1).all() and (magnitude.sum(axis=1) == 1).all())


def _copy(
    data: NDArray[np.floating],
    voxels: NDArray[np.float64],
    shape: tuple[int, int, int],
    cval: float,
) -> NDArray[np.float32]:
    """Permute, flip and cut or pad: ``voxels`` leads from target to source indices."""
    axes = np.abs(voxels[:3, :3]).argmax(axis=0)  # the source axis behind each target axis
    signs = voxels[axes, [0, 1, 2]]
    turned = np.asarray(data, dtype=np.float32).transpose(axes)
    out = np.full(shape, cval, dtype=np.float32)
    into, taken = [], []
    for axis, (size, sign) in enumerate(zip(shape, signs, strict=True)):
        index = voxels[axes[axis], 3] + sign * np.arange(size)
        inside = np.flatnonzero((index >= 0) & (index < turned.shape[axis]))
        into.append(inside)
        taken.append(index[inside].astype(np.intp))
    out[np.ix_(*into)] = turned[np.ix_(*taken)]
    return out
