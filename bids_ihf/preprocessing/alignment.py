"""Rigid and affine alignment of brains by their tissues: a search from many starts, then ANTs.

Two scans of any contrast are turned into pictures of one contrast, their tissues, so that plain
correlation says how well they lie on each other, and means the same everywhere.
"""

from __future__ import annotations

import logging
import tempfile
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import numpy as np
from attrs import frozen
from scipy.spatial.transform import Rotation

from bids_ihf.geometry.grid import Grid, canonical_grid, inverse_affine, resample
from bids_ihf.geometry.template import load_template
from bids_ihf.preprocessing import morphology
from bids_ihf.preprocessing.alignment_search import (
    AFFINE_PARAMETERS,
    RIGID_PARAMETERS,
    SCALED_PARAMETERS,
    RegistrationCost,
    best_starts,
    refine,
)
from bids_ihf.preprocessing.itk import (
    encode_affine,
    pointer,
    read_affine,
    run_registration,
    to_ants,
    write_affine,
)
from bids_ihf.preprocessing.segmentation import antialias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bids_ihf.preprocessing.segmentation import Segmentation

LOGGER = logging.getLogger(__name__)

Kind = Literal["rigid", "affine"]

TISSUE_INTENSITIES = (0.0, 0.5, 1.0, 0.0)
"""Values of outside, grey matter, white matter and fluid in a picture.

With fluid as dark as what is outside, a brain laid over another the wrong way round correlates
with it by 0.6 to 0.7, one laid right by 0.8 to 0.9, wide sulci or not; with fluid lighter or
darker both lie closer together."""

TRIAL_VOXEL_MM, SEARCH_VOXEL_MM, FINAL_VOXEL_MM = 8.0, 4.0, 2.0
"""Voxel sizes (mm) of the trial of starts, the search and the finish."""

BRAIN_MARGIN_MM = 6.0
"""Reach (mm) beyond the brain that takes part, so that outlines count."""

MIN_SIMILARITY_NEAR_HEADER = 0.80
"""Likeness from which on the way that the header suggests is trusted."""

MIN_ANTS_SIMILARITY_RATIO = 0.98
"""Share of the search's likeness below which ANTs is held to have gone astray."""

TRIAL_TILTS_DEGREES = (-30.0, 0.0, 30.0)
"""Rotations (degrees) about each axis that are tried."""

SCALE_BOUNDS = (0.75, 1.35)
"""Bounds of the scale that two brains' volumes suggest."""

TRIAL_SHIFTS_MM = (-40.0, 40.0)
"""Shifts (mm) along each axis that are tried, for scans of a part of the brain."""

REFINED_STARTS = 4
"""Starts that are followed."""


@frozen(eq=False)
class Alignment:
    """``matrix`` (4, 4) leads from moving world to fixed world, RAS mm.

    ``similarity``, 0 to 1, is the likeness of the two pictures in the moving brain and round it.
    ``coverage``, 0 to 1, is the share of the fixed brain that the moving brain lies on.
    """

    matrix: NDArray[np.float64]
    similarity: float
    coverage: float

    @property
    def rotation_degrees(self) -> float:
        """Rotation, degrees."""
        rotation = rigid_part(self.matrix, np.zeros(3))[:3, :3]
        return float(np.degrees(Rotation.from_matrix(rotation).magnitude()))


@frozen(eq=False)
class TissueMap:
    """Tissues as one image on an isotropic grid, where the brain is in it, and the voxels (X, Y,
    Z) that were scanned."""

    data: NDArray[np.float32]
    brain: NDArray[np.bool_]
    field_of_view: NDArray[np.bool_]
    grid: Grid

    def resampled(self, zoom: float) -> TissueMap:
        """The picture in coarser voxels."""
        if zoom <= float(self.grid.zooms[0]):
            return self
        grid = canonical_grid(self.data.shape, self.grid.affine, zoom=zoom)
        data = resample(antialias(self.data, self.grid, zoom), self.grid, grid)
        brain, seen = (
            resample(mask.astype(np.float32), self.grid, grid) > 0.5
            for mask in (self.brain, self.field_of_view)
        )
        return TissueMap(data, brain, seen, grid)


def tissue_map(segmentation: Segmentation) -> TissueMap:
    """The picture of a scan's tissues."""
    data = np.tensordot(
        np.array(TISSUE_INTENSITIES, dtype=np.float32), segmentation.tissue_fractions, axes=1
    )
    return TissueMap(data, segmentation.brain > 0.5, segmentation.field_of_view, segmentation.grid)


def template_tissue_map() -> TissueMap:
    """The template's tissues, 2 mm."""
    template = load_template()
    data = np.tensordot(
        np.array(TISSUE_INTENSITIES[1:], dtype=np.float32), template.tissues, axes=1
    )
    everything = np.ones(data.shape, dtype=bool)
    return TissueMap(data, template.mask, everything, template.grid).resampled(FINAL_VOXEL_MM)


def align(moving: TissueMap, fixed: TissueMap, *, kind: Kind = "rigid") -> Alignment:
    """Align two brains by their tissues.

    First from where the headers and the middles of the brains lay them; where that finds little,
    from every orientation.  Then ANTs at 2 mm, unless that goes astray.  Of the fixed brain only
    the part has to match that the moving scan shows.

    Raises
    ------
    ValueError
        A picture shows no brain.
    """
    if not (moving.brain.any() and fixed.brain.any()):
        raise ValueError("a picture shows no brain")
    start = _search(moving, fixed, kind)
    count = RIGID_PARAMETERS if kind == "rigid" else AFFINE_PARAMETERS
    pair = _pair(moving.resampled(SEARCH_VOXEL_MM), fixed.resampled(SEARCH_VOXEL_MM))
    start = refine(pair.subsampled(3), start, count, tolerance=0.3)
    finished = _finish(moving, fixed, start, kind)
    fine = _pair(moving, fixed)
    best = (
        finished
        if fine.similarity(finished) > MIN_ANTS_SIMILARITY_RATIO * fine.similarity(start)
        else start
    )
    return Alignment(best, fine.similarity(best), coverage(moving, fixed, best))


def coverage(moving: TissueMap, fixed: TissueMap, matrix: NDArray[np.float64]) -> float:
    """Share of the fixed brain, 0 to 1, that the moving brain lies on by a map (4, 4).

    What counts is the brain that was found and not the box that was scanned, since a part of a
    brain may have been saved in a box of zeros.
    """
    soft = moving.brain.astype(np.float32)
    there = resample(soft, moving.grid, fixed.grid, target_to_source=inverse_affine(matrix))
    return float((there[fixed.brain] > 0.5).mean())


def align_to_template(segmentation: Segmentation) -> Alignment:
    """Rigid way of a brain to the template: the rigid part of the affine one.

    A brain smaller or larger than the template's fits it in many rigid ways equally badly; scaled,
    it fits in one.  ``similarity`` and ``coverage`` are those of the affine alignment.
    """
    found = align(tissue_map(segmentation), template_tissue_map(), kind="affine")
    middle = np.argwhere(segmentation.brain > 0.5).mean(axis=0)
    affine = segmentation.grid.affine
    rigid = rigid_part(found.matrix, affine[:3, :3] @ middle + affine[:3, 3])
    return attrs.evolve(found, matrix=rigid)


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
    return encode_affine(inverse_affine(matrix))


def _pair(moving: TissueMap, fixed: TissueMap) -> RegistrationCost:
    """Points of the moving brain and near it, wherever it was scanned."""
    near = _near(moving)
    points = np.argwhere(near) @ moving.grid.affine[:3, :3].T + moving.grid.affine[:3, 3]
    return RegistrationCost(points, moving.data[near], fixed.data, fixed.grid, _middle(fixed))


def _near(moving: TissueMap) -> NDArray[np.bool_]:
    zoom = float(moving.grid.zooms[0])
    return morphology.dilate(moving.brain, BRAIN_MARGIN_MM, zoom) & moving.field_of_view


def _middle(of: TissueMap) -> NDArray[np.float64]:
    """Middle of the brain in the world, mm."""
    middle = np.argwhere(of.brain).mean(axis=0)
    return np.asarray(of.grid.affine[:3, :3] @ middle + of.grid.affine[:3, 3])


def _search(moving: TissueMap, fixed: TissueMap, kind: Kind) -> NDArray[np.float64]:
    """Best map at the coarse grids, rigid or with scales."""
    rough = _pair(moving.resampled(TRIAL_VOXEL_MM), fixed.resampled(TRIAL_VOXEL_MM))
    coarse = _pair(moving.resampled(SEARCH_VOXEL_MM), fixed.resampled(SEARCH_VOXEL_MM)).subsampled(
        5
    )
    ends = _middle(moving), rough.centre
    count = RIGID_PARAMETERS if kind == "rigid" else SCALED_PARAMETERS
    sizes = [1.0] if kind == "rigid" else [1.0, _size(moving, fixed)]
    # Scans of one session share their world: no map at all is worth a look.
    tilts = [size * turn for size in sizes for turn in _tilts()]
    starts = [np.eye(4), *(_start(turn, *ends) for turn in tilts)]
    found = _best(coarse, best_starts(rough, starts, 2), count)
    if coarse.similarity(found) > MIN_SIMILARITY_NEAR_HEADER:
        return found
    turns = [tilt @ right for right in _right_angles() for tilt in tilts]
    shifts = [np.zeros(3), *(np.eye(3)[k] * by for k, by in product(range(3), TRIAL_SHIFTS_MM))]
    starts = [_start(turn, ends[0], ends[1] + shift) for turn in turns for shift in shifts]
    return _best(coarse, [found, *best_starts(rough, starts, REFINED_STARTS)], count)


def _best(
    pair: RegistrationCost, starts: list[NDArray[np.float64]], count: int
) -> NDArray[np.float64]:
    ends = [refine(pair, start, count, tolerance=0.5) for start in starts]
    return max(ends, key=pair.similarity)


def _size(moving: TissueMap, fixed: TissueMap) -> float:
    """The scale that would give both brains one volume."""
    volumes = [each.brain.sum() * each.grid.zooms.prod() for each in (moving, fixed)]
    return float(np.clip(np.cbrt(volumes[1] / volumes[0]), *SCALE_BOUNDS))


def _start(
    turn: NDArray[np.float64], from_: NDArray[np.float64], to: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The map that turns about one point and brings it to another."""
    out = np.eye(4)
    out[:3, :3] = turn
    out[:3, 3] = to - turn @ from_
    return out


def _tilts() -> list[NDArray[np.float64]]:
    angles = list(product(TRIAL_TILTS_DEGREES, repeat=3))
    return list(Rotation.from_euler("xyz", angles, degrees=True).as_matrix())


def _right_angles() -> Iterator[NDArray[np.float64]]:
    """The 24 ways that axes can be exchanged without a mirror."""
    yield from Rotation.create_group("O").as_matrix()


def _finish(
    moving: TissueMap, fixed: TissueMap, start: NDArray[np.float64], kind: Kind
) -> NDArray[np.float64]:
    """ANTs' own alignment by correlation, from ``start``.

    To ANTs the scan is the fixed image, since the part of the brain that it shows is to be
    compared.
    """
    still, going = (to_ants(each.data, each.grid.affine) for each in (moving, fixed))
    mask = to_ants(_near(moving), moving.grid.affine)
    with tempfile.TemporaryDirectory(prefix="ihf-align-") as folder:
        initial, prefix = Path(folder) / "initial.mat", Path(folder) / "out"
        write_affine(initial, start)
        arguments = [
            "--initial-moving-transform", str(initial),
            "--metric", f"GC[{pointer(still)},{pointer(going)},1,0,Regular,0.2]",
            "--transform", f"{kind.capitalize()}[0.1]",
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
