"""The diffusion series of the simulated study: small, one per session, with its b-table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from bids_ihf.bids.gradient_tables import GradientTable
from bids_ihf.lab.simulation.diffusion_session import pooled, start_session, vendor_epi_scanner
from bids_ihf.lab.simulation.gradient_scheme import fsl_directions, gradient_table
from bids_ihf.lab.simulation.metadata import diffusion_sidecar
from bids_ihf.lab.simulation.microstructure import diffusion_truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.metadata import Sidecar
    from bids_ihf.lab.simulation.microstructure import DiffusionTruth

MIN_VOXEL_MM = 3.0
"""Least voxel size, mm."""

VENDOR_SHELLS: dict[str, dict[float, int]] = {
    "Siemens": {0: 2, 1000: 12, 2000: 12},
    "GE": {0: 2, 1000: 12, 2000: 12},
    "Philips": {0: 2, 1000: 15},
}
"""Number of volumes at each b-value."""

VENDOR_STORAGE_AXES = {"Siemens": "LAS", "GE": "RAS", "Philips": "LPS"}
"""Where the axes of the stored arrays point to."""


@frozen
class DiffusionScheme:
    """What a series consists of: the number of volumes at each b-value, and the least voxel size,
    mm."""

    shells: Mapping[float, int]
    zoom: float = MIN_VOXEL_MM


@frozen(eq=False)
class DemoSeries:
    """One simulated series as it is stored: int16 voxels (X, Y, Z, N), voxel-to-world affine,
    table with directions as its ``.bvec`` states them, BIDS metadata, and the truth (axes RAS)."""

    data: NDArray[np.int16]
    affine: NDArray[np.float64]
    gradients: GradientTable
    metadata: Sidecar
    diffusion_truth: DiffusionTruth


def demo_series(
    vendor: str,
    anatomy: Anatomy,
    person: int,
    *,
    pose: NDArray[np.float64],
    key: int,
    moved: NDArray[np.float64],
    scheme: DiffusionScheme | None = None,
) -> DemoSeries:
    """Simulate the series of a session.

    anatomy: as positioned in the scanner; pooled here to voxels of the scheme's size or more.
    person: seed of the person's microstructure; key: of this scan's circumstances.
    pose: (4, 4) the person's world to the scanner's; moved: how the head has moved since, both
        RAS mm.
    scheme: the vendor's of SHELLS, unless given.
    """
    scheme = scheme or DiffusionScheme(VENDOR_SHELLS[vendor])
    coarse = pooled(anatomy, max(1, round(scheme.zoom / float(anatomy.zooms[0]))))
    one = start_session(coarse, vendor_epi_scanner(vendor, key), person, pose)
    gradients = gradient_table(scheme.shells, sum(vendor.encode()))
    affine = moved @ coarse.affine
    # The head's own axes have moved with it, the gradients' have not.
    turned = evolve(gradients, bvecs=gradients.bvecs @ moved[:3, :3])
    volumes = [_stored(v, affine, VENDOR_STORAGE_AXES[vendor]) for v in one.volumes(turned, key)]
    stored_affine = volumes[0][1]
    data = np.stack([np.clip(v, 0, 32767).astype(np.int16) for v, _ in volumes], axis=-1)
    stated = evolve(gradients, bvecs=fsl_directions(gradients.bvecs, stored_affine))
    zoom = float(coarse.zooms[2])
    return DemoSeries(
        data,
        stored_affine,
        stated,
        diffusion_sidecar(one.scanner, zoom),
        diffusion_truth(coarse, one.micro),
    )


def _stored(
    volume: NDArray[np.float32], affine: NDArray[np.float64], storage: str
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Flip and permute a RAS-ordered array into the storage order; nothing is interpolated."""
    from nibabel import orientations

    change = orientations.ornt_transform(
        orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(storage)
    )
    turned = np.ascontiguousarray(orientations.apply_orientation(volume, change))
    return turned, affine @ orientations.inv_ornt_aff(change, volume.shape)
