"""Aligning two scans of a person without regard to contrast: rigidly, and deformably.

Sessions differ by more than a rigid motion: gradient nonlinearity, distortion, and whatever a
registration left.  Mutual information and local cross-correlation (Avants et al. 2008, Medical
Image Analysis 12:26) do not see contrast, so that the transforms favour no row of the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.preprocessing.itk import (
    load_ants,
    pointer,
    read_affine,
    run_registration,
    to_ants,
    write_affine,
)
from bids_ihf.preprocessing.morphology import dilate
from bids_ihf.targets.network_input import NETWORK_VOXEL_MM, NetworkInput

BRAIN_MARGIN_MM = 4.0
"""Margin around the brain, mm, that is aligned as well."""

MAX_RIGID_SHIFT_MM = 15.0
"""Shift of a brain's centre, mm, beyond which a rigid alignment counts as failed: both scans are
registered to the template already."""

SAMPLED_FRACTION = 0.05
"""Part of the voxels of a level by which mutual information is measured for a rigid motion, which
has six parameters: some 40,000 at 2 mm."""

CORRELATION_RADIUS_VOXELS = 4
"""Radius of the window of the local cross-correlation, in voxels of each level."""

RIGID_STAGE = (
    *("--transform", "Rigid[0.1]", "--convergence", "[100x50,1e-6,10]"),
    *("--shrink-factors", "4x2", "--smoothing-sigmas", "2x1"),
)
DEFORMABLE_STAGE = (
    *("--transform", "SyN[0.1,3,0]", "--convergence", "[40x20x10,1e-6,10]"),
    *("--shrink-factors", "4x2x1", "--smoothing-sigmas", "2x1x0"),
)
"""Stages of antsRegistration, from 4 mm to 2 mm and, for the deformable one, to 1 mm."""


@frozen(eq=False)
class PairAlignment:
    """How a scan's images are brought to the grid of another scan of the person.

    ``rigid`` and ``deformable`` are files of transforms for ANTs; the latter is empty where it was
    not asked for.
    """

    truth: NetworkInput
    rigid: tuple[str, ...]
    deformable: tuple[str, ...]

    def move(
        self, data: NDArray[Any], affine: NDArray[np.float64], transforms: tuple[str, ...]
    ) -> NDArray[np.float32]:
        """An image (X, Y, Z), its affine (4, 4) leading to template space, on the truth's grid by
        a single linear interpolation; 0 outside."""
        moved = load_ants().apply_transforms(
            fixed=_to_ants(self.truth.data, self.truth),
            moving=to_ants(data.astype(np.float32), affine),
            transformlist=list(transforms),
            interpolator="linear",
        )
        return np.asarray(moved.numpy(), dtype=np.float32)


@contextmanager
def aligned(
    source: NetworkInput, truth: NetworkInput, *, deformable: bool
) -> Iterator[PairAlignment]:
    """Align a scan with another one of the person; the transforms last as long as the context.

    Raises
    ------
    RuntimeError
        ANTs fails.
    """
    fixed, moving = (_to_ants(_near_brain(scan), scan) for scan in (truth, source))
    images = f"{pointer(fixed)},{pointer(moving)}"
    with TemporaryDirectory(prefix="ihf-validate-") as folder:
        initial, prefix = Path(folder) / "initial.mat", Path(folder) / "out"
        write_affine(initial, np.eye(4))
        stages = ["--metric", f"MI[{images},1,32,Regular,{SAMPLED_FRACTION}]", *RIGID_STAGE]
        if deformable:
            stages += [
                "--metric",
                f"CC[{images},1,{CORRELATION_RADIUS_VOXELS}]",
                *DEFORMABLE_STAGE,
            ]
        run_registration(
            ["--initial-moving-transform", str(initial), *stages, "--output", str(prefix)]
        )
        rigid = Path(f"{prefix}0GenericAffine.mat")
        if _brain_shift(read_affine(rigid), truth) > MAX_RIGID_SHIFT_MM:
            raise RuntimeError("the two scans do not match")
        warp = (f"{prefix}1Warp.nii.gz",) if deformable else ()
        yield PairAlignment(truth, (str(rigid),), (*warp, str(rigid)) if deformable else ())


def _to_ants(data: NDArray[np.float32], scan: NetworkInput) -> Any:
    return to_ants(data, scan.grid.affine)


def _near_brain(scan: NetworkInput) -> NDArray[np.float32]:
    """A scan in the range of its brain, 0 beyond BRAIN_MARGIN_MM around it."""
    near = dilate(scan.brain, BRAIN_MARGIN_MM, NETWORK_VOXEL_MM)
    return np.where(near, scan.scale.normalize(scan.data) + 1, np.float32(0))


def _brain_shift(matrix: NDArray[np.float64], scan: NetworkInput) -> float:
    """Distance (mm) by which a map of points (4, 4) moves the centre of a brain."""
    affine = scan.grid.affine
    centre = affine[:3, :3] @ np.argwhere(scan.brain).mean(axis=0) + affine[:3, 3]
    return float(np.linalg.norm(matrix[:3, :3] @ centre + matrix[:3, 3] - centre))
