"""Rigid and affine alignment by ANTs, as matrices between worlds (RAS, mm)."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from attrs import frozen

from bids_ihf.spatial.ants_image import load_ants, matrix_of, to_ants, to_itk, write_matrix
from bids_ihf.spatial.bias import coarse_grid
from bids_ihf.volume.grid import Grid, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOGGER = logging.getLogger(__name__)

FINEST = 2.0
"""Voxel size (mm) that alignment stops at."""

POOR = 0.35
"""Similarity below which other starting angles are tried."""

TILTS = ((25.0, 0.0, 0.0), (-25.0, 0.0, 0.0), (0.0, 0.0, 25.0), (0.0, 0.0, -25.0))
"""Starting angles (degrees about x, y, z) tried when the first alignment is poor."""


@frozen(eq=False)
class Alignment:
    """``matrix`` (4, 4) leads from the moving world to the fixed world; ``similarity`` 0 to 1."""

    matrix: NDArray[np.float64]
    similarity: float


def to_itk_text(matrix: NDArray[np.float64]) -> bytes:
    """A moving-to-fixed matrix as the ``.mat`` file that ``antsApplyTransforms`` takes to bring the
    moving image to the fixed grid."""
    return to_itk(np.linalg.inv(matrix))


def align(
    moving: NDArray[np.float32],
    moving_affine: NDArray[np.float64],
    moving_mask: NDArray[np.bool_] | None,
    fixed: NDArray[np.float32],
    fixed_affine: NDArray[np.float64],
    fixed_mask: NDArray[np.bool_] | None,
    *,
    kind: Literal["rigid", "affine"] = "rigid",
    start: NDArray[np.float64] | None = None,
) -> Alignment:
    """Align two images (X, Y, Z), each inside its mask if it has one, by mutual information.

    ``start`` is a first guess (moving to fixed); without one the centres of mass are laid on each
    other, and other angles are tried if the result is poor.
    """
    a = _coarse(moving, moving_affine, moving_mask)
    b = _coarse(fixed, fixed_affine, fixed_mask)
    best = _register(a, b, kind, _centred(a, b) if start is None else start)
    if start is None and best.similarity < POOR:
        for tilt in TILTS:
            other = _register(a, b, kind, _centred(a, b, tilt))
            if other.similarity > best.similarity:
                best = other
    return best


@frozen(eq=False)
class _Coarse:
    data: NDArray[np.float32]
    grid: Grid


def _coarse(
    data: NDArray[np.float32], affine: NDArray[np.float64], mask: NDArray[np.bool_] | None
) -> _Coarse:
    shape = (data.shape[0], data.shape[1], data.shape[2])
    grid = coarse_grid(shape, affine, FINEST)
    inside = data if mask is None else np.where(mask, data, np.float32(0))
    return _Coarse(resample(inside, Grid(shape, affine), grid), grid)


def _centre(image: _Coarse) -> NDArray[np.float64]:
    """Centre of mass of what is brighter than a tenth of the bright voxels, world mm."""
    bright = image.data > 0.1 * np.percentile(image.data[image.data > 0], 95)
    voxel = np.argwhere(bright).mean(axis=0)
    return image.grid.affine[:3, :3] @ voxel + image.grid.affine[:3, 3]


def _centred(
    moving: _Coarse, fixed: _Coarse, tilt: tuple[float, float, float] = (0, 0, 0)
) -> NDArray[np.float64]:
    """Centre on centre, turned about it."""
    from scipy.spatial.transform import Rotation

    out = np.eye(4)
    out[:3, :3] = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix()
    out[:3, 3] = _centre(fixed) - out[:3, :3] @ _centre(moving)
    return out


def _register(
    moving: _Coarse, fixed: _Coarse, kind: str, start: NDArray[np.float64]
) -> Alignment:
    ants = load_ants()
    with tempfile.TemporaryDirectory(prefix="ihf-align-") as folder:
        first = Path(folder) / "start.mat"
        write_matrix(np.linalg.inv(start), first)
        options: dict[str, Any] = {
            "initial_transform": [str(first)],
            "outprefix": str(Path(folder) / "out_"),
            "aff_metric": "mattes",
            "aff_sampling": 32,
            "aff_random_sampling_rate": 0.25,
            "aff_iterations": (400, 200, 60),
            "aff_shrink_factors": (4, 2, 1),
            "aff_smoothing_sigmas": (2, 1, 0),
            "random_seed": 1,
        }
        images = to_ants(fixed.data, fixed.grid.affine), to_ants(moving.data, moving.grid.affine)
        found = ants.registration(
            *images, type_of_transform="Rigid" if kind == "rigid" else "Affine", **options
        )
        files = [f for f in found["fwdtransforms"] if str(f).endswith(".mat")]
        fixed_to_moving = np.eye(4)
        for file in files:  # the last one is applied first
            fixed_to_moving = fixed_to_moving @ matrix_of(file)
    matrix = np.linalg.inv(fixed_to_moving)
    return Alignment(matrix, similarity(moving, fixed, matrix))


def similarity(moving: _Coarse, fixed: _Coarse, matrix: NDArray[np.float64]) -> float:
    """How well two aligned images agree, 0 to 1, whatever their contrasts.

    The mean of the correlation ratio of the moving image given the fixed one (Roche et al. 1998) and
    the overlap (Dice) of their bright parts.
    """
    back = np.linalg.inv(matrix)
    warped = resample(moving.data, moving.grid, fixed.grid, target_to_source=back)
    here, there = fixed.data > 0, warped > 0
    both = here & there
    total = np.count_nonzero(here) + np.count_nonzero(there)
    if np.count_nonzero(both) < 100 or total == 0:
        return 0.0
    overlap = 2 * np.count_nonzero(both) / total
    edges = np.quantile(fixed.data[both], np.linspace(0, 1, 33)[1:-1])
    bins = np.digitize(fixed.data[both], edges)
    values = warped[both].astype(np.float64)
    counts = np.bincount(bins, minlength=32)
    means = np.bincount(bins, values, minlength=32) / np.maximum(counts, 1)
    spread = values.var()
    ratio = 0.0 if spread == 0 else float((counts * (means - values.mean()) ** 2).sum())
    ratio = ratio / (counts.sum() * spread) if spread else 0.0
    return float((ratio + overlap) / 2)
