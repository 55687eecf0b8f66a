"""N4 bias field correction (Tustison et al. 2010, IEEE Trans Med Imaging 29:1310), on a coarse grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.spatial.ants_image import load_ants, to_ants
from bids_ihf.volume.grid import Grid, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

COARSE = 4.0
"""Voxel size (mm) of the grid N4 works on: the field has no finer detail."""

ITERATIONS = [40, 40, 30, 20]
PAD = 2
LIMIT = 4.0
"""The field outside the brain is held within this factor of its range inside."""


def coarse_grid(shape: tuple[int, int, int], affine: NDArray[np.float64], zoom: float) -> Grid:
    """A grid along the same axes and over the same box with voxels of about ``zoom`` mm.

    Axes whose voxels are larger already keep them.
    """
    zooms = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    factors = np.maximum(1.0, zoom / zooms)
    size = np.maximum(np.ceil(np.array(shape) / factors), 1).astype(int)
    out = affine.copy()
    out[:3, :3] = affine[:3, :3] * factors
    # The first coarse voxel covers the first fine ones, so its centre lies half a step further in.
    out[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((factors - 1) / 2)
    return Grid((int(size[0]), int(size[1]), int(size[2])), out)


def bias_field(
    data: NDArray[np.float32], affine: NDArray[np.float64], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The multiplicative receive field of an image (X, Y, Z) on its own grid.

    Its geometric mean inside ``mask`` is 1; outside it goes on smoothly.  ``data / field`` is the
    corrected image.
    """
    native = Grid((data.shape[0], data.shape[1], data.shape[2]), affine)
    grid = coarse_grid(native.shape, affine, COARSE)
    small = resample(_smooth(data, native), native, grid)
    inside = resample(mask.astype(np.float32), native, grid) > 0.5
    if np.count_nonzero(inside) < 50:
        return np.ones_like(data)
    box = _box(inside)
    log = _log_field(small[box], inside[box], grid.affine)
    # Beyond the box, and half a voxel round the coarse grid, the field keeps its edge values.
    widths = [
        (cut.start + PAD, size - cut.stop + PAD)
        for cut, size in zip(box, grid.shape, strict=True)
    ]
    padded = np.pad(log, widths, mode="edge")
    around = Grid((padded.shape[0], padded.shape[1], padded.shape[2]), _shift(grid.affine, -PAD))
    return np.exp(resample(padded, around, native, order=3))


def _box(inside: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The mask's box with a margin of two voxels: N4 need not look at air."""
    corners = np.argwhere(inside)
    low = np.maximum(corners.min(axis=0) - 2, 0)
    high = np.minimum(corners.max(axis=0) + 3, inside.shape)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return x, y, z


def _log_field(
    small: NDArray[np.float32], inside: NDArray[np.bool_], affine: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Logarithm of the field N4 finds, with mean 0 inside the mask and bounded outside."""
    floor = 1e-3 * float(np.percentile(small[inside], 99))
    found = load_ants().n4_bias_field_correction(
        to_ants(np.maximum(small, floor), affine),
        mask=to_ants(inside, affine),
        shrink_factor=1,
        convergence={"iters": ITERATIONS, "tol": 1e-6},
        spline_param=200,
        return_bias_field=True,
    )
    log = np.log(np.maximum(found.numpy(), 1e-6))
    log -= log[inside].mean()
    slack = np.log(LIMIT) / 2
    bounded: NDArray[np.float32] = np.clip(
        log, log[inside].min() - slack, log[inside].max() + slack
    ).astype(np.float32)
    return bounded


def _shift(affine: NDArray[np.float64], voxels: int) -> NDArray[np.float64]:
    out = affine.copy()
    out[:3, 3] += affine[:3, :3] @ np.full(3, voxels)
    return out


def _smooth(data: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Average over about a coarse voxel, so that taking every fourth does not keep its noise."""
    from scipy import ndimage

    width = np.maximum(1, np.rint(COARSE / grid.zooms)).astype(int)
    out: NDArray[np.float32] = ndimage.uniform_filter(data, size=tuple(int(w) for w in width))
    return out
