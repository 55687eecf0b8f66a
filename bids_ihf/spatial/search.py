"""Rigid and affine search by the correlation ratio on sampled points: quick, from many starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from bids_ihf.volume.grid import Grid

BINS = 48
"""Intensity classes of the fixed image."""

OVERLAP = 0.5
"""Share of the sampled points that must fall inside the moving image."""

STIFFNESS = 2e-5
"""Cost of a squared percent of scale or shear: keeps an affine map near to human heads."""

RIGID, AFFINE = 6, 12


@frozen(eq=False)
class Pair:
    """Sampled points of a fixed image and the moving image to be laid over them.

    ``points`` (N, 3) in world mm, ``classes`` (N,) the intensity class of the fixed image at each.
    """

    points: NDArray[np.float64]
    classes: NDArray[np.intp]
    moving: NDArray[np.float32]
    moving_grid: Grid
    centre: NDArray[np.float64] = field()

    @centre.default
    def _middle(self) -> NDArray[np.float64]:
        return self.points.mean(axis=0)

    def ratio(self, fixed_to_moving: NDArray[np.float64]) -> float:
        """Correlation ratio of the moving image given the fixed one, 0 to 1.

        Roche et al. 1998, "The correlation ratio as a new similarity measure for multimodal image
        registration", eq. 4.  0 where too few points fall inside the moving image.
        """
        to_voxel = np.linalg.inv(self.moving_grid.affine) @ fixed_to_moving
        where = to_voxel[:3, :3] @ self.points.T + to_voxel[:3, 3:]
        last = np.array(self.moving.shape)[:, None] - 1.0
        inside = ((where >= 0) & (where <= last)).all(axis=0)
        if inside.mean() < OVERLAP:
            return 0.0
        values = ndimage.map_coordinates(self.moving, where[:, inside], order=1)
        return correlation_ratio(values.astype(np.float64), self.classes[inside])

    def cost(self, parameters: NDArray[np.float64]) -> float:
        """What the search makes small."""
        stretch = float((parameters[RIGID:] ** 2).sum()) * STIFFNESS
        return stretch - self.ratio(to_matrix(parameters, self.centre))


def correlation_ratio(values: NDArray[np.float64], classes: NDArray[np.intp]) -> float:
    """Share of the variance of ``values`` that their ``classes`` explain."""
    total = values.var()
    if total <= 0:
        return 0.0
    count = np.bincount(classes)
    present = count > 0
    sums = np.bincount(classes, values)[present]
    between = (sums**2 / count[present]).sum() / values.size - values.mean() ** 2
    return float(np.clip(between / total, 0.0, 1.0))


def sample(
    fixed: NDArray[np.float32],
    grid: Grid,
    where: NDArray[np.bool_],
    moving: NDArray[np.float32],
    moving_grid: Grid,
) -> Pair:
    """The pair whose points are the voxels ``where`` of the fixed image."""
    index = np.argwhere(where)
    points = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    values = fixed[where]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    return Pair(points, np.searchsorted(edges, values), moving, moving_grid)


def to_matrix(
    parameters: Sequence[float] | NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fixed to moving world, 4x4: rotations (degrees), shifts (mm), scales and shears (percent).

    All about ``centre``, so that one unit of any parameter moves a head's surface by about a mm.
    """
    full = np.zeros(AFFINE)
    full[: len(parameters)] = parameters
    rotation = Rotation.from_euler("xyz", full[:3], degrees=True).as_matrix()
    stretch = np.diag(np.exp(full[6:9] / 100))
    stretch[[0, 0, 1], [1, 2, 2]] = full[9:] / 100
    out = np.eye(4)
    out[:3, :3] = rotation @ stretch
    out[:3, 3] = centre + full[3:6] - out[:3, :3] @ centre
    return out


def best_starts(
    pair: Pair, starts: Iterable[NDArray[np.float64]], keep: int
) -> list[NDArray[np.float64]]:
    """The ``keep`` starts of least cost."""
    return sorted(starts, key=pair.cost)[:keep]


def refine(pair: Pair, start: NDArray[np.float64], *, tolerance: float) -> NDArray[np.float64]:
    """Powell's search from a start; ``tolerance`` in degrees, mm and percent."""
    found = optimize.minimize(
        pair.cost, start, method="Powell",
        options={"xtol": tolerance, "ftol": 1e-5, "maxiter": 12, "direc": np.eye(len(start)) * 2},
    )  # fmt: skip
    return np.asarray(found.x, dtype=np.float64)
