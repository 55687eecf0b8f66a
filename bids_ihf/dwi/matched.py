"""Harmonization by people of both scanners who are matched: scaling of harmonics by place.

The method of Mirzaalian et al. (2016, NeuroImage 135:311; 2018, Brain Imaging Behav 12:284) and
De Luca et al. (2022, NeuroImage 259:119439): the rotation-invariant features of the signal,
averaged over matched people of each scanner in a common space, have a ratio at every place by
which the harmonics of a series are multiplied.  Simpler than there: the common space is the
bounding box of the brain after a rigid registration, in cells of 6 mm, instead of a nonlinear
template; order 4 takes the ratio of order 2; and what the ratio changes is the expected signal, so
that each volume keeps its noise.
"""

from __future__ import annotations

import numpy as np
from attrs import evolve
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.dwi.harmonize import PlaceRatios
from bids_ihf.dwi.shared_maps import SharedMaps
from bids_ihf.dwi.shell_plan import ShellPlan
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.matched_maps import COMMON_SPACE_SHAPE, MatchedMaps

Array = NDArray[np.float32]

SMOOTHING_SD_CELLS = 1.0
"""Standard deviation of the smoothing of the features in the common space."""

MIN_COVERED_FRACTION = 0.05
"""Smallest smoothed fraction of a cell's usual number of voxels at which it has features."""

SCALE_BOUNDS = (0.5, 2.0)
"""Bounds of the ratios, as in the published method."""

BOX_PERCENTILES = (0.5, 99.5)
"""Percentiles of the brain's coordinates that are the sides of its box; single voxels of a mask
that reaches too far do not move it."""


def measure_matched(
    maps: SharedMaps, b_values: tuple[float, ...], prepared: Prepared, head: NDArray[np.bool_]
) -> MatchedMaps:
    """The features of one series, from its maps at the voxels of ``head`` (X, Y, Z)."""
    brain = prepared.mask[head]
    cells = np.rint(common_coordinates(prepared, prepared.mask & head)).astype(np.intp)
    clipped = [np.clip(row, 0, n - 1) for row, n in zip(cells, COMMON_SPACE_SHAPE, strict=True)]
    index = np.ravel_multi_index(tuple(clipped), COMMON_SPACE_SHAPE)
    size = int(np.prod(COMMON_SPACE_SHAPE))

    def smoothed(values: NDArray[np.floating] | None) -> NDArray[np.float64]:
        sums = np.bincount(index, values, size).reshape(COMMON_SPACE_SHAPE)
        return np.asarray(ndimage.gaussian_filter(sums.astype(np.float64), SMOOTHING_SD_CELLS))

    count = smoothed(None)
    known = count > MIN_COVERED_FRACTION * np.median(count[count > 0])
    base = np.maximum(maps.b0[brain], 1e-6)
    features = np.full((len(b_values), 2, *COMMON_SPACE_SHAPE), np.nan, dtype=np.float32)
    for shell, images in enumerate(zip(maps.means, maps.energies, strict=True)):
        for number, image in enumerate(images):
            if image is not None:
                ratio = np.clip(image[brain] / base, 0, 1)
                features[shell, number][known] = smoothed(ratio)[known] / count[known]
    return MatchedMaps(features, np.asarray(b_values), 1)


def matched_ratios(
    source: MatchedMaps,
    target: MatchedMaps,
    b_values: tuple[float, ...],
    prepared: Prepared,
    head: NDArray[np.bool_],
) -> PlaceRatios | None:
    """Ratios at the V voxels of ``head`` (X, Y, Z), 1 outside the brain; None where a shell of the
    series is not one of both scanners'."""
    cells = common_coordinates(prepared, head)
    inside = prepared.mask[head]
    means: list[Array] = [np.ones(len(inside), dtype=np.float32)]
    deviations: list[Array] = []
    for b in b_values:
        source_shell, target_shell = source.shell(b), target.shell(b)
        if source_shell is None or target_shell is None:
            return None
        for images, before, after in zip(
            (means, deviations), source_shell, target_shell, strict=True
        ):
            scale = np.ones(COMMON_SPACE_SHAPE, dtype=np.float32)
            known = np.isfinite(before) & np.isfinite(after) & (np.nan_to_num(before) > 0)
            np.divide(after, before, out=scale, where=known)
            ratio = ndimage.map_coordinates(
                np.clip(scale, *SCALE_BOUNDS), cells, order=1, mode="nearest"
            )
            images.append(np.where(inside, ratio, np.float32(1)).astype(np.float32))
    return PlaceRatios(tuple(means), tuple(deviations))


def without_change(plan: ShellPlan) -> ShellPlan:
    """A plan that brings the units at b = 0 to the target's and changes nothing else."""
    floor = plan.source_floor * plan.gain
    tissue = plan.source_levels * plan.gain
    shells = tuple(evolve(shell, exponent=1.0, anisotropy=1.0) for shell in plan.shells)
    return evolve(plan, target_floor=floor, target_levels=tissue, shells=shells)


def common_coordinates(prepared: Prepared, voxels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Coordinates (3, V) of voxels (X, Y, Z) in the common space, in cells."""
    affine = prepared.to_template @ prepared.grid.affine

    def in_template(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(affine[:3, :3] @ np.argwhere(chosen).T + affine[:3, 3:])

    low, high = np.percentile(in_template(prepared.mask), BOX_PERCENTILES, axis=1)
    size = np.asarray(COMMON_SPACE_SHAPE)[:, None] - 1
    scaled = (in_template(voxels) - low[:, None]) / np.maximum(high - low, 1e-6)[:, None]
    return np.asarray(scaled * size)
