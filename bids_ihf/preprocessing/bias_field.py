"""Bias field: N4 on a coarse grid, its field evaluated on the native one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_ihf.geometry.grid import Grid, canonical_grid, resample, shifted_affine
from bids_ihf.preprocessing.itk import load_ants, to_ants

if TYPE_CHECKING:
    from numpy.typing import NDArray

N4_ITERATIONS = (30, 30, 30, 20)
"""N4 iterations at each level of the B-spline mesh, whose spacing halves from level to level."""

N4_TOLERANCE = 1e-4
"""Change of the field between iterations at which a level ends.  Of real scans the field is within
0.2 % (root mean square 0.03 %) of that at 1e-6, in three quarters of the time."""

N4_VOXEL_MM, N4_FINE_VOXEL_MM = 6.0, 4.0
"""Voxel size of N4's grid, mm, for whole brains, and for less.  Known fields on real scans are
found as exactly on the coarser one, in 0.4 of the time (docs/performance.md)."""

MIN_WHOLE_BRAIN_ML = 600.0
"""Volume of a brain mask, mL, from which on it counts as a whole brain: most of an adult's."""

MESH_SPACING_MM = 200.0
"""Spacing of the B-spline mesh at the first level, mm."""

FADE_DISTANCE_MM = 12.0
"""Distance from the mask, mm, over which N4's field fades into the extrapolated one."""

MIN_N4_VOXELS = 200
"""Voxels below which a field cannot be separated from anatomy."""

MIN_N4_INTENSITY = 1e-6
"""Smallest intensity that N4 sees, in units of the image or, if smaller, of its maximum."""

MAX_LOG_FIELD = np.log(8.0)
"""Log of the largest plausible field."""


def bias_field(
    data: NDArray[np.float32],
    affine: NDArray[np.float64],
    mask: NDArray[np.bool_],
    *,
    shrink: float | None = None,
) -> NDArray[np.float32]:
    """Estimate the multiplicative bias field (X, Y, Z) of a scan by N4; divide by it to correct.

    N4ITK (Tustison et al. 2010, IEEE Transactions on Medical Imaging 29:1310-1320).

    Parameters
    ----------
    data, affine
        The scan, (X, Y, Z), and its affine.
    mask
        Brain mask, (X, Y, Z).
    shrink
        Voxel size of N4's grid, mm; None: `N4_VOXEL_MM`, or `N4_FINE_VOXEL_MM` for slabs and small
        brains.  It is isotropic, so that thick slices are not thinned out.

    Returns
    -------
    field
        Geometric mean 1 inside the mask, extrapolated smoothly outside; ones where the mask is too
        small.
    """
    native = Grid(data.shape, affine)
    if shrink is None:
        is_whole = mask.sum() * native.zooms.prod() / 1000 >= MIN_WHOLE_BRAIN_ML
        shrink = N4_VOXEL_MM if is_whole else N4_FINE_VOXEL_MM
    coarse = canonical_grid(data.shape, affine, zoom=float(shrink))
    inside = resample(mask.astype(np.float32), native, coarse) > 0.5
    # Not smoothed first: N4 needs the histogram's peaks sharp.
    values = resample(data, native, coarse)
    inside &= values > 0
    if inside.sum() < MIN_N4_VOXELS:
        return np.ones(data.shape, dtype=np.float32)
    log_field = _extrapolate(_n4(values, inside, coarse), inside, float(shrink))
    smooth = canonical_grid(data.shape, affine, zoom=shrink / 2)
    # Cubic to half the voxel size, then linear: a smooth field in a fraction of the time.
    finer = _resample_extended(log_field, coarse, smooth, order=3)
    field = _resample_extended(finer, smooth, native, order=1)
    field -= field[mask].mean()
    return np.exp(field, dtype=np.float32)


def _n4(values: NDArray[np.float32], inside: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Log field on the coarse grid, zero away from the mask."""
    box = tuple(
        slice(max(0, s.start - 2), s.stop + 2)
        for s in ndimage.find_objects(inside.astype(np.uint8))[0]
    )
    origin = shifted_affine(grid.affine, [axis.start for axis in box])
    # N4 takes logarithms; images in tiny units must not all lie below the smallest value.
    floor = MIN_N4_INTENSITY * min(1.0, float(values[inside].max()))
    field = (
        load_ants()
        .n4_bias_field_correction(
            to_ants(np.maximum(values[box], floor), origin),
            mask=to_ants(inside[box].astype(np.float32), origin),  # N4 accepts no bytes
            shrink_factor=1,
            convergence={"iters": list(N4_ITERATIONS), "tol": N4_TOLERANCE},
            spline_param=MESH_SPACING_MM,
            return_bias_field=True,
            rescale_intensities=False,
        )
        .numpy()
    )
    out = np.zeros(values.shape, dtype=np.float32)
    out[box] = np.clip(np.log(np.maximum(field, 1e-6)), -MAX_LOG_FIELD, MAX_LOG_FIELD)
    return out


def _extrapolate(
    log_field: NDArray[np.float32], inside: NDArray[np.bool_], zoom: float
) -> NDArray[np.float32]:
    """Inside unchanged; outside the nearest inside values, smoother with distance."""
    distance, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
    extended = log_field[tuple(nearest)]
    smooth = ndimage.gaussian_filter(extended, FADE_DISTANCE_MM / zoom, mode="nearest")
    weight = np.clip(1 - distance * zoom / FADE_DISTANCE_MM, 0, 1)
    weight = weight * weight * (3 - 2 * weight)
    return (weight * extended + (1 - weight) * smooth).astype(np.float32)


def _resample_extended(
    data: NDArray[np.float32], source: Grid, target: Grid, *, order: int
) -> NDArray[np.float32]:
    """Resample an image whose edge values continue for two voxels outside its grid."""
    shape = [size + 4 for size in source.shape]
    extended = Grid(shape, shifted_affine(source.affine, (-2, -2, -2)))
    return resample(np.pad(data, 2, mode="edge"), extended, target, order=order)
