"""Receive-coil bias: N4 on a coarse grid, its field evaluated on the native one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_ihf.geometry.grid import Grid, canonical_grid, resample, shifted_affine
from bids_ihf.preprocessing.itk import load_ants, to_ants

if TYPE_CHECKING:
    from numpy.typing import NDArray

N4_ITERATIONS = (30, 30, 30, 20)
"""N4 iterations at each level of the B-spline mesh; its spacing is halved from one to the next."""

MESH_SPACING_MM = 200.0
"""Mesh spacing of the first level, mm."""

FADE_DISTANCE_MM = 12.0
"""Distance (mm) from the mask over which N4's field goes over into the extended one."""

MIN_N4_VOXELS = 200
"""Voxels that N4 needs."""

MAX_LOG_FIELD = np.log(8.0)
"""Largest believable log field."""


def bias_field(
    data: NDArray[np.float32],
    affine: NDArray[np.float64],
    mask: NDArray[np.bool_],
    *,
    shrink: int = 4,
) -> NDArray[np.float32]:
    """Multiplicative bias (X, Y, Z) of a scan; divide by it to correct.

    N4 (Tustison et al. 2010, "N4ITK: improved N3 bias correction") inside the mask, on an
    isotropic grid of ``shrink`` mm, so that thick slices are not thinned out.  The geometric mean
    inside the mask is 1; outside, the values at the mask's edge go on smoothly.  All ones where
    the mask is too small for a field to be told from anatomy.
    """
    native = Grid(data.shape, affine)
    coarse = canonical_grid(data.shape, affine, zoom=float(shrink))
    inside = resample(mask.astype(np.float32), native, coarse) > 0.5
    # Not smoothed first: N4 needs the histogram's peaks sharp.
    values = resample(data, native, coarse)
    inside &= values > 0
    if inside.sum() < MIN_N4_VOXELS:
        return np.ones(data.shape, dtype=np.float32)
    log_field = _extend(_n4(values, inside, coarse), inside, float(shrink))
    smooth = canonical_grid(data.shape, affine, zoom=shrink / 2)
    # Cubic to half the spacing, then linear: a smooth field at a fraction of the time.
    finer = resample(_pad(log_field), _padded(coarse), smooth, order=3)
    field = resample(_pad(finer), _padded(smooth), native, order=1)
    field -= field[mask].mean()
    return np.exp(field, dtype=np.float32)


def _n4(values: NDArray[np.float32], inside: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Log field on the coarse grid."""
    box = tuple(
        slice(max(0, s.start - 2), s.stop + 2)
        for s in ndimage.find_objects(inside.astype(np.uint8))[0]
    )
    origin = shifted_affine(grid.affine, [axis.start for axis in box])
    field = (
        load_ants()
        .n4_bias_field_correction(
            to_ants(np.maximum(values[box], 1e-6), origin),
            mask=to_ants(inside[box].astype(np.float32), origin),  # N4 takes no bytes
            shrink_factor=1,
            convergence={"iters": list(N4_ITERATIONS), "tol": 1e-6},
            spline_param=MESH_SPACING_MM,
            return_bias_field=True,
            rescale_intensities=False,
        )
        .numpy()
    )
    out = np.zeros(values.shape, dtype=np.float32)
    out[box] = np.clip(np.log(np.maximum(field, 1e-6)), -MAX_LOG_FIELD, MAX_LOG_FIELD)
    return out


def _extend(
    log_field: NDArray[np.float32], inside: NDArray[np.bool_], zoom: float
) -> NDArray[np.float32]:
    """Inside as it is; outside, the nearest inside values, smoothed more the farther away."""
    distance, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
    carried = log_field[tuple(nearest)]
    smooth = ndimage.gaussian_filter(carried, FADE_DISTANCE_MM / zoom, mode="nearest")
    weight = np.clip(1 - distance * zoom / FADE_DISTANCE_MM, 0, 1)
    weight = weight * weight * (3 - 2 * weight)
    return (weight * carried + (1 - weight) * smooth).astype(np.float32)


def _pad(data: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.pad(data, 2, mode="edge")


def _padded(grid: Grid) -> Grid:
    """The grid of :func:`_pad`."""
    return Grid([size + 4 for size in grid.shape], shifted_affine(grid.affine, (-2, -2, -2)))
