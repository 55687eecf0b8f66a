"""Rigid and affine alignment of brains: a search from many starts, finished by ANTs."""

from __future__ import annotations

import logging
import tempfile
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from attrs import evolve, frozen

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
from bids_ihf.spatial.template import load_template
from bids_ihf.volume.grid import Grid, canonical_grid, inverse, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.spatial.search import Pair

LOGGER = logging.getLogger(__name__)

Kind = Literal["rigid", "affine"]

COARSE, FINE = 4.0, 2.0
"""Voxel sizes (mm) of the search and of the finish."""

SURROUND = 6.0
"""Reach (mm) beyond the fixed brain that takes part, so that outlines count."""

GOOD = 0.45
"""Correlation ratio from which on the first start is trusted."""

WORSE = 0.9
"""Share of the search's correlation ratio below which ANTs is held to have gone astray."""

PITCH, ROLL, YAW = (-30.0, 0.0, 30.0), (-20.0, 0.0, 20.0), (-30.0, 0.0, 30.0)
"""Rotations (degrees) that are tried where it is not."""


@frozen(eq=False)
class Alignment:
    """``matrix`` (4, 4) leads from moving world to fixed world, RAS mm.

    ``similarity``, 0 to 1, is the correlation ratio in the fixed brain and round it.
    """

    matrix: NDArray[np.float64]
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
) -> Alignment:
    """Align two brains (X, Y, Z each, of any contrast) by what lies inside their masks.

    A search by the correlation ratio at 4 mm, from the centres of mass and, where that finds
    little, from rotated starts; then ANTs with mutual information at 2 mm, unless that goes
    astray.  The comparison goes SURROUND mm beyond the fixed mask.

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
        ends.append((still, going, _pair(still, going)))
    start = _search(ends[0][2], *ends[0][:2], RIGID if kind == "rigid" else AFFINE)
    still, going, pair = ends[1]
    found = refine(_thinned(pair), start, tolerance=0.1)
    matrix = to_matrix(found, pair.centre)
    finished = _finish(still, going, matrix, kind)
    best = finished if pair.ratio(finished) > WORSE * pair.ratio(matrix) else matrix
    return Alignment(inverse(best), pair.ratio(best))


def align_to_template(
    data: NDArray[np.float32], affine: NDArray[np.float64], mask: NDArray[np.bool_]
) -> Alignment:
    """Rigid way of a brain to the template: the rigid part of the affine one.

    A brain smaller or larger than the template's fits it in many rigid ways equally badly; scaled,
    it fits in one.  ``similarity`` is that of the affine alignment.
    """
    template = load_template()
    found = align(
        data, affine, mask,
        template.image, template.grid.affine, template.mask, kind="affine",
    )  # fmt: skip
    middle = np.argwhere(mask).mean(axis=0)
    centre = affine[:3, :3] @ middle + affine[:3, 3]
    return Alignment(rigid_part(found.matrix, centre), found.similarity)


def rigid_part(matrix: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest rotation to an affine map (4, 4), bringing ``centre`` (3,) to the same point."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    out = np.eye(4)
    out[:3, :3] = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    out[:3, 3] = matrix[:3, :3] @ centre + matrix[:3, 3] - out[:3, :3] @ centre
    return out


def to_itk_mat(matrix: NDArray[np.float64]) -> bytes:
    """The bytes of a ``*_xfm.mat`` with which antsApplyTransforms brings moving to fixed.

    ``matrix`` is that of an :class:`Alignment`.  ITK resamples by the map of points from fixed to
    moving, in LPS; that is what the file holds.
    """
    return encode_affine(inverse(matrix))


def _masked(
    data: NDArray[np.float32], affine: NDArray[np.float64], mask: NDArray[np.bool_], zoom: float
) -> Masked:
    native = Grid((data.shape[0], data.shape[1], data.shape[2]), affine)
    grid = canonical_grid(data.shape, affine, zoom=zoom)
    brain = antialias(np.where(mask, data, np.float32(0)), native, zoom)
    share = resample(antialias(mask.astype(np.float32), native, zoom), native, grid)
    return Masked(resample(brain, native, grid), grid, share > 0.5)


def _pair(fixed: Masked, moving: Masked) -> Pair:
    near = morphology.dilate(fixed.mask, SURROUND, float(fixed.grid.zooms[0]))
    return sample(fixed.data, fixed.grid, near, moving.data, moving.grid)


def _thinned(pair: Pair, step: int = 5) -> Pair:
    """Every ``step``-th point: enough for a smooth cost."""
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
        turned = [start + np.array([*angles, 0, 0, 0]) for angles in product(PITCH, ROLL, YAW)]
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
    fixed: Masked, moving: Masked, start: NDArray[np.float64], kind: Kind
) -> NDArray[np.float64]:
    """ANTs' own alignment (fixed to moving world) by mutual information, from ``start``."""
    near = morphology.dilate(fixed.mask, SURROUND, float(fixed.grid.zooms[0]))
    still, going = (to_ants(b.data, b.grid.affine) for b in (fixed, moving))
    mask = to_ants(near, fixed.grid.affine)
    with tempfile.TemporaryDirectory(prefix="ihf-align-") as folder:
        initial, prefix = Path(folder) / "initial.mat", Path(folder) / "out"
        write_affine(initial, start)
        arguments = [
            "--initial-moving-transform", str(initial),
            "--metric", f"MI[{pointer(still)},{pointer(going)},1,32,Regular,0.2]",
            "--transform", f"{kind.capitalize()}[0.05]",
            "--convergence", "[40x20,1e-6,8]",
            "--shrink-factors", "2x1",
            "--smoothing-sigmas", "1x0",
            "--masks", f"[{pointer(mask)},NA]",
            "--output", str(prefix),
        ]  # fmt: skip
        try:
            run_registration(arguments)
        except RuntimeError as error:
            LOGGER.warning("ANTs could not finish an alignment (%s); the search's is kept.", error)
            return start
        return read_affine(Path(f"{prefix}0GenericAffine.mat"))
