"""Search for the rigid or affine map of one tissue map to another, from many starting points."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.geometry.grid import Grid
    from bids_ihf.preprocessing.tissue_map import TissueMap

RIGID_PARAMETERS, SCALED_PARAMETERS, AFFINE_PARAMETERS = 6, 9, 12
"""Number of parameters of a rigid map, one with scales, and one with shears as well."""

SCALE_SHEAR_PENALTY = 2e-5
"""Cost of a squared percent of scale or shear: keeps affine maps plausible for human heads."""

TRIAL_VOXEL_MM, SEARCH_VOXEL_MM = 8.0, 4.0
"""Voxel sizes, mm, for the comparison of starting points and for the search from the best."""

TRIAL_TILTS_DEGREES = (-30.0, 0.0, 30.0)
"""Rotations about each axis that are tried, degrees."""

TRIAL_SHIFTS_MM = (-40.0, 40.0)
"""Shifts along each axis that are tried, mm, for scans of a part of the brain."""

SCALE_BOUNDS = (0.75, 1.35)
"""Bounds of the starting scale that the volumes of the two brains suggest."""

STARTS_NEAR_HEADER, STARTS_ANYWHERE = 2, 4
"""Starting points that are refined, of those near the headers' alignment and of all."""

MIN_SIMILARITY_NEAR_HEADER = 0.80
"""Similarity above which the alignment near the headers' is taken and no other is tried."""


@frozen(eq=False)
class RegistrationCost:
    """How well a map brings sampled points of a moving image onto a fixed image (X, Y, Z).

    `points` (N, 3) are in the moving world, mm, and `values` (N,) is the moving image there; maps
    rotate and scale about `centre` (3,), a point of the fixed world.
    """

    points: NDArray[np.float64]
    values: NDArray[np.float32]
    fixed: NDArray[np.float32]
    fixed_grid: Grid
    centre: NDArray[np.float64]

    @classmethod
    def between(
        cls, moving: TissueMap, fixed: TissueMap, zoom: float, *, step: int = 1
    ) -> RegistrationCost:
        """Compare two tissue maps in and near the moving brain, where it was scanned.

        In voxels of `zoom` mm, at every `step`-th of them.
        """
        moving, fixed = moving.downsampled(zoom), fixed.downsampled(zoom)
        near, affine = moving.near_brain(), moving.grid.affine
        points = np.argwhere(near) @ affine[:3, :3].T + affine[:3, 3]
        values = moving.data[near][::step]
        return cls(points[::step], values, fixed.data, fixed.grid, fixed.brain_centre)

    def similarity(self, matrix: NDArray[np.float64]) -> float:
        """Correlation of the two images over the points; 0 where one of them is constant."""
        to_voxel = np.linalg.inv(self.fixed_grid.affine) @ matrix
        voxels = to_voxel[:3, :3] @ self.points.T + to_voxel[:3, 3:]
        fixed = ndimage.map_coordinates(self.fixed, voxels, order=1)
        first, second = self.values - self.values.mean(), fixed - fixed.mean()
        product_of_variances = float(first @ first) * float(second @ second)
        if product_of_variances <= 0:
            return 0.0
        return min(1.0, float(first @ second) / float(np.sqrt(product_of_variances)))

    def cost(self, parameters: NDArray[np.float64], base: NDArray[np.float64]) -> float:
        """Penalized dissimilarity of the map of `parameters` after the map `base` (4, 4)."""
        penalty = float((parameters[RIGID_PARAMETERS:] ** 2).sum()) * SCALE_SHEAR_PENALTY
        return penalty - self.similarity(to_matrix(parameters, self.centre) @ base)


def to_matrix(
    parameters: Sequence[float] | NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Build a map of points (4, 4) from up to twelve parameters.

    Rotations (degrees), shifts (mm), scales and shears (percent), about `centre` (3,): one unit of
    any of them moves a head's surface by about a millimetre.
    """
    full = np.zeros(AFFINE_PARAMETERS)
    full[: len(parameters)] = parameters
    rotation = Rotation.from_euler("xyz", full[:3], degrees=True).as_matrix()
    stretch = np.diag(np.exp(full[6:9] / 100))
    stretch[[0, 0, 1], [1, 2, 2]] = full[9:] / 100
    out = np.eye(4)
    out[:3, :3] = rotation @ stretch
    out[:3, 3] = centre + full[3:6] - out[:3, :3] @ centre
    return out


def refine(
    cost: RegistrationCost, start: NDArray[np.float64], count: int, *, tolerance: float
) -> NDArray[np.float64]:
    """Powell's search over `count` parameters from a map (4, 4), to `tolerance` units of each."""
    result = optimize.minimize(
        cost.cost, np.zeros(count), args=(start,), method="Powell",
        options={"xtol": tolerance, "ftol": 1e-5, "maxiter": 12, "direc": np.eye(count) * 2},
    )  # fmt: skip
    return np.asarray(to_matrix(result.x, cost.centre) @ start, dtype=np.float64)


def search(moving: TissueMap, fixed: TissueMap, *, scaled: bool) -> NDArray[np.float64]:
    """Best rigid map (4, 4) on coarse grids, or best map with scales.

    Starts from the headers' worlds and from the brains' centres; where that does not match, from
    every orientation.
    """
    trial = RegistrationCost.between(moving, fixed, TRIAL_VOXEL_MM)
    cost = RegistrationCost.between(moving, fixed, SEARCH_VOXEL_MM, step=5)
    count = SCALED_PARAMETERS if scaled else RIGID_PARAMETERS

    def refine_best(starts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        refined = [refine(cost, start, count, tolerance=0.5) for start in starts]
        return max(refined, key=cost.similarity)

    scales = [1.0, _volume_scale(moving, fixed)] if scaled else [1.0]
    angles = list(product(TRIAL_TILTS_DEGREES, repeat=3))
    rotations = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    tilts = [scale * rotation for scale in scales for rotation in rotations]
    origin, centre = moving.brain_centre, trial.centre
    # Scans of one session share their world: the identity is tried as well.
    starts = [np.eye(4), *(_map_about(tilt, origin, centre) for tilt in tilts)]
    best = refine_best(_most_similar(trial, starts, STARTS_NEAR_HEADER))
    if cost.similarity(best) > MIN_SIMILARITY_NEAR_HEADER:
        return best
    # The 24 ways of exchanging axes without a reflection, each with all tilts.
    turns = [tilt @ axes for axes in Rotation.create_group("O").as_matrix() for tilt in tilts]
    shifts = [np.zeros(3), *(np.eye(3)[k] * mm for k, mm in product(range(3), TRIAL_SHIFTS_MM))]
    starts = [_map_about(turn, origin, centre + shift) for turn in turns for shift in shifts]
    return refine_best([best, *_most_similar(trial, starts, STARTS_ANYWHERE)])


def _most_similar(
    cost: RegistrationCost, starts: list[NDArray[np.float64]], count: int
) -> list[NDArray[np.float64]]:
    return sorted(starts, key=cost.similarity, reverse=True)[:count]


def _volume_scale(moving: TissueMap, fixed: TissueMap) -> float:
    """The scale that would give both brains one volume, within `SCALE_BOUNDS`."""
    moving_mm3, fixed_mm3 = (m.brain.sum() * m.grid.zooms.prod() for m in (moving, fixed))
    return float(np.clip(np.cbrt(fixed_mm3 / moving_mm3), *SCALE_BOUNDS))


def _map_about(
    linear: NDArray[np.float64], origin: NDArray[np.float64], destination: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The map (4, 4) of a linear part (3, 3) that brings `origin` to `destination`."""
    out = np.eye(4)
    out[:3, :3] = linear
    out[:3, 3] = destination - linear @ origin
    return out
