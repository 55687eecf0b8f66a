"""Rigid and affine alignment of brains by their tissue maps: a search, then ANTs."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from attrs import evolve, frozen
from scipy.spatial.transform import Rotation

from bids_ihf.geometry.grid import inverse_affine, resample
from bids_ihf.preprocessing.alignment_search import (
    AFFINE_PARAMETERS,
    RIGID_PARAMETERS,
    SEARCH_VOXEL_MM,
    RegistrationCost,
    refine,
    search,
)
from bids_ihf.preprocessing.itk import (
    encode_affine,
    pointer,
    read_affine,
    run_registration,
    to_ants,
    write_affine,
)
from bids_ihf.preprocessing.segmentation import SEGMENTATION_VOXEL_MM
from bids_ihf.preprocessing.tissue_map import TissueMap, template_tissue_map, tissue_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.segmentation import Segmentation

LOGGER = logging.getLogger(__name__)

MIN_ANTS_SIMILARITY_RATIO = 0.98
"""ANTs' result is used if its similarity is at least this fraction of the search's."""

ANTS_TOLERANCE = "1e-5"
"""Slope of the similarity at which ANTs ends a level.  Of real scans no point of the brain moves
by more than 0.3 mm against 1e-6, in three quarters of the time."""


@frozen(eq=False)
class Alignment:
    """Map of points (4, 4) from a moving brain's world to a fixed brain's, RAS mm.

    `similarity` is the correlation of the two tissue maps in and near the moving brain, `coverage`
    the fraction of the fixed brain that the moving brain covers; both are from 0 to 1.
    """

    matrix: NDArray[np.float64]
    similarity: float
    coverage: float

    @property
    def rotation_degrees(self) -> float:
        """Angle of the rotation, degrees."""
        rotation = rigid_part(self.matrix, np.zeros(3))[:3, :3]
        return float(np.degrees(Rotation.from_matrix(rotation).magnitude()))


def align(
    moving: TissueMap, fixed: TissueMap, *, transform: Literal["rigid", "affine"] = "rigid"
) -> Alignment:
    """Align two brains by their tissue maps.

    A search from many starting points on coarse grids, then ANTs at 2 mm unless its result is
    worse.  Only what the moving scan shows has to match, so it may show a part of the brain.

    Raises
    ------
    ValueError
        A tissue map shows no brain.
    """
    if not (moving.brain.any() and fixed.brain.any()):
        raise ValueError("a tissue map shows no brain")
    is_affine = transform == "affine"
    start = search(moving, fixed, scaled=is_affine)
    coarse = RegistrationCost.between(moving, fixed, SEARCH_VOXEL_MM, step=3)
    count = AFFINE_PARAMETERS if is_affine else RIGID_PARAMETERS
    matrix = refine(coarse, start, count, tolerance=0.3)
    by_ants = _register_with_ants(moving, fixed, matrix, transform)
    fine = RegistrationCost.between(moving, fixed, SEGMENTATION_VOXEL_MM)
    if fine.similarity(by_ants) > MIN_ANTS_SIMILARITY_RATIO * fine.similarity(matrix):
        matrix = by_ants
    return Alignment(matrix, fine.similarity(matrix), coverage(moving, fixed, matrix))


def coverage(moving: TissueMap, fixed: TissueMap, matrix: NDArray[np.float64]) -> float:
    """Fraction of the fixed brain, 0 to 1, that the moving brain covers by a map (4, 4).

    Counts the brain and not the scanned box, since a part of a brain may be stored in a box of
    zeros.
    """
    moved = resample(
        moving.brain.astype(np.float32),
        moving.grid,
        fixed.grid,
        target_to_source=inverse_affine(matrix),
    )
    return float((moved[fixed.brain] > 0.5).mean())


def align_to_template(segmentation: Segmentation) -> Alignment:
    """Align a brain rigidly to the template, by the rigid part of its affine alignment.

    A brain smaller or larger than the template's fits it equally badly in many rigid ways; scaled,
    it fits in one.  ``similarity`` and ``coverage`` are those of the affine alignment.
    """
    moving = tissue_map(segmentation)
    alignment = align(moving, template_tissue_map(), transform="affine")
    return evolve(alignment, matrix=rigid_part(alignment.matrix, moving.brain_centre))


def rigid_part(matrix: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest rotation to an affine map (4, 4), mapping `centre` (3,) to the same point."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    out = np.eye(4)
    out[:3, :3] = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    out[:3, 3] = matrix[:3, :3] @ centre + matrix[:3, 3] - out[:3, :3] @ centre
    return out


def to_itk_mat(matrix: NDArray[np.float64]) -> bytes:
    """Encode the matrix of an `Alignment` as a ``*_xfm.mat`` for antsApplyTransforms.

    ITK resamples by the map of points from fixed to moving, in LPS; the file holds that one.
    """
    return encode_affine(inverse_affine(matrix))


def _register_with_ants(
    moving: TissueMap,
    fixed: TissueMap,
    start: NDArray[np.float64],
    transform: Literal["rigid", "affine"],
) -> NDArray[np.float64]:
    """ANTs' alignment by global correlation from a map (4, 4); that map if ANTs fails.

    The scan is ANTs' fixed image, since what it shows of the brain is to be compared.
    """
    ants_fixed, ants_moving = (to_ants(m.data, m.grid.affine) for m in (moving, fixed))
    mask = to_ants(moving.near_brain(), moving.grid.affine)
    with tempfile.TemporaryDirectory(prefix="ihf-align-") as folder:
        initial, prefix = Path(folder) / "initial.mat", Path(folder) / "out"
        write_affine(initial, start)
        arguments = [
            "--initial-moving-transform", str(initial),
            "--metric", f"GC[{pointer(ants_fixed)},{pointer(ants_moving)},1,0,Regular,0.2]",
            "--transform", f"{transform.capitalize()}[0.1]",
            "--convergence", f"[40x20,{ANTS_TOLERANCE},8]",
            "--shrink-factors", "2x1",
            "--smoothing-sigmas", "1x0",
            "--masks", f"[{pointer(mask)},NA]",
            "--output", str(prefix),
        ]  # fmt: skip
        try:
            run_registration(arguments)
        except RuntimeError as error:
            LOGGER.warning("ANTs registration failed (%s); the coarser alignment is used.", error)
            return start
        return read_affine(Path(f"{prefix}0GenericAffine.mat"))
