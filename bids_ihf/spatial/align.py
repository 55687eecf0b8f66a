"""Rigid and affine alignment of brains: a search from many starts, finished by ANTs."""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from attrs import field, frozen

from bids_ihf.spatial import morphology
from bids_ihf.spatial.itk import (
    encode_affine,
    pointer,
    read_affine,
    run_registration,
    to_ants,
    write_affine,
)
from bids_ihf.spatial.mask import antialias
from bids_ihf.spatial.search import AFFINE, RIGID, best_starts, refine, sample, to_matrix
from bids_ihf.volume.grid import Grid, canonical_grid, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.spatial.search import Pair

Kind = Literal["rigid", "affine"]

COARSE, FINE = 4.0, 2.0
"""Voxel sizes (mm) of the search and of the finish."""

SURROUND = 6.0
"""Reach (mm) beyond the fixed brain that takes part, so that outlines count."""

GOOD = 0.35
"""Correlation ratio from which on the first start is trusted."""

PITCH, ROLL, YAW = (-30.0, 0.0, 30.0), (-20.0, 0.0, 20.0), (-30.0, 0.0, 30.0)
"""Rotations (degrees) that are tried where it is not."""


@frozen(eq=False)
class Alignment:
    """``matrix`` (4, 4) leads from moving world to fixed world, RAS mm.

    ``similarity``, 0 to 1, is the correlation ratio in the fixed brain and round it.
    """

    matrix: NDArray[np.float64] = field(converter=lambda m: np.asarray(m, dtype=np.float64))
    similarity: float


@frozen(eq=False)
class Masked:
    """A brain, 0 outside its mask, with its grid."""

    data: NDArray[np.float32]
    grid: Grid
    mask: NDArray[np.bool_]


def align(
    moving: NDArray[np.float32],
    moving_affine: NDArray[np.float64],
    moving_mask: NDArray[np.bool_],
    fixed: NDArray[np.float32],
    fixed_affine: NDArray[np.float64],
    fixed_mask: NDArray[np.bool_],
    *,
    kind: Kind = "rigid",
    surround: float = SURROUND,
) -> Alignment:
    """Align two brains (X, Y, Z each, of any contrast) by what lies inside their masks.

    A search by the correlation ratio at 4 mm, from the centres of mass and, where that finds little,
    from rotated starts; then ANTs with mutual information at 2 mm, which is kept where it is no
    worse.  ``surround`` (mm) is how far the comparison goes beyond the fixed mask.

    Raises
    ------
    ValueError
        A mask is empty.
    """
    if not (moving_mask.any() and fixed_mask.any()):
        raise ValueError("a mask is empty")
    ends = []
    for zoom in (COARSE, FINE):
        still = _masked(fixed, fixed_affine, fixed_mask, zoom)
        going = _masked(moving, moving_affine, moving_mask, zoom)
        ends.append((still, going, _pair(still, going, surround)))
    start = _search(ends[0][2], *ends[0][:2], RIGID if kind == "rigid" else AFFINE)
    still, going, pair = ends[1]
    found = refine(_thinned(pair), start, tolerance=0.1)
    matrix = to_matrix(found, pair.centre)
    finished = _finish(still, going, matrix, kind, surround)
    best = max(matrix, finished, key=pair.ratio)
    return Alignment(np.linalg.inv(best), pair.ratio(best))


def to_itk_mat(matrix: NDArray[np.float64]) -> bytes:
    """A ``*_xfm.mat`` file that antsApplyTransforms takes to bring moving images to the fixed grid.

    ``matrix`` is that of an :class:`Alignment`.  ITK's transforms map points from fixed to moving, in
    LPS; the file holds that map.
    """
    return encode_affine(np.linalg.inv(matrix))


def _masked(
    data: NDArray[np.float32], affine: NDArray[np.float64], mask: NDArray[np.bool_], zoom: float
) -> Masked:
    native = Grid((data.shape[0], data.shape[1], data.shape[2]), affine)
    grid = canonical_grid(data.shape, affine, zoom=zoom)
    brain = antialias(np.where(mask, data, np.float32(0)), native, zoom)
    share = resample(antialias(mask.astype(np.float32), native, zoom), native, grid)
    return Masked(resample(brain, native, grid), grid, share > 0.5)


def _pair(fixed: Masked, moving: Masked, surround: float) -> Pair:
    near = morphology.dilate(fixed.mask, surround, float(fixed.grid.zooms[0]))
    return sample(fixed.data, fixed.grid, near, moving.data, moving.grid)


def _thinned(pair: Pair, step: int = 5) -> Pair:
    """Every ``step``-th point: enough for a smooth cost."""
    from attrs import evolve

    return evolve(pair, points=pair.points[::step], classes=pair.classes[::step])


def _search(pair: Pair, fixed: Masked, moving: Masked, count: int) -> NDArray[np.float64]:
    """Parameters of the best alignment at the coarse grid."""
    start = np.zeros(RIGID)
    start[3:] = _centre(moving) - _centre(fixed)
    loose = _thinned(pair, 3)
    # Scans of one session share their world: no shift at all is worth a look.
    starts = best_starts(loose, [start, np.zeros(RIGID)], 1)
    found = refine(loose, starts[0], tolerance=0.5)
    if -loose.cost(found) < GOOD:
        turned = [start + [*angles, 0, 0, 0] for angles in product(PITCH, ROLL, YAW)]
        others = [refine(loose, s, tolerance=0.5) for s in best_starts(loose, turned, 4)]
        found = min([found, *others], key=loose.cost)
    if count == AFFINE:
        found = refine(loose, np.concatenate([found, np.zeros(AFFINE - RIGID)]), tolerance=0.5)
    return found


def _centre(brain: Masked) -> NDArray[np.float64]:
    """Middle of the mask in the world, mm."""
    middle = np.argwhere(brain.mask).mean(axis=0)
    return np.asarray(brain.grid.affine[:3, :3] @ middle + brain.grid.affine[:3, 3])


def _finish(
    fixed: Masked, moving: Masked, start: NDArray[np.float64], kind: Kind, surround: float
) -> NDArray[np.float64]:
    """ANTs' own alignment (fixed to moving world) by mutual information, from ``start``."""
    near = morphology.dilate(fixed.mask, surround, float(fixed.grid.zooms[0]))
    still, going = (to_ants(b.data, b.grid.affine) for b in (fixed, moving))
    mask = to_ants(near, fixed.grid.affine)
    with tempfile.TemporaryDirectory(prefix="ihf-align-") as folder:
        initial, prefix = Path(folder) / "initial.mat", Path(folder) / "out"
        write_affine(initial, start)
        arguments = [
            "--initial-moving-transform", str(initial),
            "--metric", f"MI[{pointer(still)},{pointer(going)},1,32,Regular,0.2]",
            "--transform", f"{kind.capitalize()}[0.05]",
            "--convergence", "[20x20,1e-6,6]",
            "--shrink-factors", "2x1",
            "--smoothing-sigmas", "1x0",
            "--masks", f"[{pointer(mask)},NA]",
            "--output", str(prefix),
        ]  # fmt: skip
        run_registration(arguments)
        return read_affine(Path(f"{prefix}0GenericAffine.mat"))
