"""Rigid and affine search by the likeness of two pictures on sampled points, from many starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from bids_ihf.geometry.grid import Grid

SCALE_SHEAR_PENALTY = 2e-5
"""Cost of a squared percent of scale or shear: keeps an affine map near to human heads."""

RIGID_PARAMETERS, SCALED_PARAMETERS, AFFINE_PARAMETERS = 6, 9, 12
"""Parameters of a rigid map, one with scales, and one with shears besides."""


@frozen(eq=False)
class RegistrationCost:
    """Sampled points of a moving picture, and the fixed picture they are to be brought to.

    ``points`` (N, 3) in world mm with the moving picture's ``values`` (N,); ``centre`` (3,) is a
    point of the fixed world that turns and scales leave in place.
    """

    points: NDArray[np.float64]
    values: NDArray[np.float32]
    fixed: NDArray[np.float32]
    fixed_grid: Grid
    centre: NDArray[np.float64]

    def similarity(self, matrix: NDArray[np.float64]) -> float:
        """Correlation of the two pictures over the points; 0 where one of them is flat."""
        to_voxel = np.linalg.inv(self.fixed_grid.affine) @ matrix
        where = to_voxel[:3, :3] @ self.points.T + to_voxel[:3, 3:]
        there = ndimage.map_coordinates(self.fixed, where, order=1)
        first, second = self.values - self.values.mean(), there - there.mean()
        spread = float(first @ first) * float(second @ second)
        return min(1.0, float(first @ second) / float(np.sqrt(spread))) if spread > 0 else 0.0

    def cost(self, parameters: NDArray[np.float64], base: NDArray[np.float64]) -> float:
        """What the search makes small."""
        stretch = float((parameters[RIGID_PARAMETERS:] ** 2).sum()) * SCALE_SHEAR_PENALTY
        return stretch - self.similarity(to_matrix(parameters, self.centre) @ base)

    def subsampled(self, step: int) -> RegistrationCost:
        """Every ``step``-th point: enough for a smooth cost."""
        points, values = self.points[::step], self.values[::step]
        return RegistrationCost(points, values, self.fixed, self.fixed_grid, self.centre)


def to_matrix(
    parameters: Sequence[float] | NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A map (4, 4): rotations (degrees), shifts (mm), scales and shears (percent).

    All about ``centre``, so that one unit of any parameter moves a head's surface by about a mm.
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


def best_starts(
    pair: RegistrationCost, starts: Iterable[NDArray[np.float64]], keep: int
) -> list[NDArray[np.float64]]:
    """The ``keep`` maps (4, 4) of greatest likeness."""
    return sorted(starts, key=pair.similarity, reverse=True)[:keep]


def refine(
    pair: RegistrationCost, start: NDArray[np.float64], count: int, *, tolerance: float
) -> NDArray[np.float64]:
    """Powell's search over ``count`` parameters from a map (4, 4); the map found.

    ``tolerance`` is in degrees, mm and percent.
    """
    found = optimize.minimize(
        pair.cost, np.zeros(count), args=(start,), method="Powell",
        options={"xtol": tolerance, "ftol": 1e-5, "maxiter": 12, "direc": np.eye(count) * 2},
    )  # fmt: skip
    return np.asarray(to_matrix(found.x, pair.centre) @ start, dtype=np.float64)
