"""The diffusion series of a demo session: small, with its gradient table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.simulation.diffusion_session import start_session
from bids_ihf.lab.simulation.epi_scanner import vendor_epi_scanner
from bids_ihf.lab.simulation.gradient_scheme import fsl_directions, gradient_table
from bids_ihf.lab.simulation.metadata import diffusion_sidecar
from bids_ihf.lab.simulation.microstructure import diffusion_truth
from bids_ihf.lab.simulation.storage_axes import to_storage_axes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bids_ihf.bids.gradient_tables import GradientTable
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.metadata import Sidecar
    from bids_ihf.lab.simulation.microstructure import DiffusionTruth

MIN_VOXEL_MM = 3.0
"""Smallest voxel size of a series by default, mm."""

VENDOR_SHELLS: dict[str, dict[float, int]] = {
    "Siemens": {0: 2, 1000: 12, 2000: 12},
    "GE": {0: 2, 1000: 12, 2000: 12},
    "Philips": {0: 2, 1000: 15},
}
"""Number of volumes at each b-value (s/mm2)."""

VENDOR_STORAGE_AXES = {"Siemens": "LAS", "GE": "RAS", "Philips": "LPS"}
"""Axis codes of the stored series."""


@frozen
class DiffusionScheme:
    """The number of volumes at each b-value (s/mm2), and the smallest voxel size, mm."""

    shells: Mapping[float, int]
    zoom: float = MIN_VOXEL_MM


@frozen(eq=False)
class DemoSeries:
    """One simulated series as it is stored.

    data: (X, Y, Z, N) int16; affine: (4, 4) voxel to world.
    gradients: directions as the ``.bvec`` file states them.
    metadata: the JSON sidecar.
    truth: maps on the grid of the series, axes in RAS order.
    """

    data: NDArray[np.int16]
    affine: NDArray[np.float64]
    gradients: GradientTable
    metadata: Sidecar
    truth: DiffusionTruth


def demo_series(
    vendor: str,
    anatomy: Anatomy,
    *,
    subject_seed: int,
    scan_seed: int,
    pose: NDArray[np.float64],
    movement: NDArray[np.float64],
    scheme: DiffusionScheme | None = None,
) -> DemoSeries:
    """Simulate the series of a session.

    Parameters
    ----------
    anatomy
        As positioned in the scanner; averaged to voxels of the size of the scheme or more.
    subject_seed, scan_seed
        Draw the microstructure of the subject, and the scanner and noise of this scan.
    pose
        (4, 4) map from the world of the subject to that of the scanner, RAS mm.
    movement
        (4, 4) movement of the head since, RAS mm.
    scheme
        That of the vendor by default.
    """
    scheme = scheme or DiffusionScheme(VENDOR_SHELLS[vendor])
    factor = max(1, round(scheme.zoom / float(anatomy.zooms[0])))
    coarse = anatomy.averaged((factor, factor, factor))
    scanner = vendor_epi_scanner(vendor, scan_seed)
    session = start_session(coarse, scanner, subject_seed, pose)
    gradients = gradient_table(scheme.shells, sum(vendor.encode()))
    # The axes of the head have rotated with it, the gradients have not.
    in_head_axes = evolve(gradients, bvecs=gradients.bvecs @ movement[:3, :3])
    affine, axes = movement @ coarse.affine, VENDOR_STORAGE_AXES[vendor]
    volumes = [
        to_storage_axes(volume, affine, axes)
        for volume in session.volumes(in_head_axes, scan_seed)
    ]
    stored_affine = volumes[0][1]
    return DemoSeries(
        np.stack([np.clip(v, 0, 32767).astype(np.int16) for v, _ in volumes], axis=-1),
        stored_affine,
        evolve(gradients, bvecs=fsl_directions(gradients.bvecs, stored_affine)),
        diffusion_sidecar(scanner, float(coarse.zooms[2])),
        diffusion_truth(coarse, session.micro),
    )
