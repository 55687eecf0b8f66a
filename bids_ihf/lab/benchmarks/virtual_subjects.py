"""Simulated traveling subjects: one anatomy scanned by several scanners.

Bias is corrected as in a real run; masks and registration are the true ones, the same for all
scans of a subject, so that harmonization methods are compared and not registrations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.simulation.anatomy import crop_to_brain
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.random_scanners import random_scanner
from bids_ihf.lab.simulation.reference_segmentation import reference_brain_mask
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner, vendor_scanner
from bids_ihf.lab.simulation.virtual_subject import VirtualSubject, register, scan_subject
from bids_ihf.preprocessing import morphology
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.targets.network_input import NetworkInput

FIRST_SEED = 900_000
"""Seeds of the benchmark start here; those of training are far below."""

OFF_RANGE_SCANNERS = ("off-range 1", "off-range 2")
"""Scanners far from any vendor's."""

SITE_SUFFIX = " site"
"""Ends the name of a scanner of a vendor's population, as scans in use come from; the vendor's
name alone is its typical scanner, which targets stand for."""

REPEAT_SUFFIX = " again"
"""Ends the name of the second scan by the same scanner."""

SLICE_SPACING_MM = 3
"""Distance of the slices that are measured."""

CSF_MARGIN_VOXELS = 2
"""Voxels of CSF around the brain that belong to its mask."""


@frozen(eq=False)
class Slices:
    """Axial slices of a bias-corrected scan in its own units.

    Attributes
    ----------
    data, mask
        Intensities and brain mask, (X, Y, S).
    z
        Template coordinates of the slices, (S,), mm.
    corner
        Template coordinates of voxel (0, 0), mm.
    """

    data: NDArray[np.float32]
    mask: NDArray[np.bool_]
    z: NDArray[np.int64]
    corner: tuple[int, int]


def seed_of(seed: int, *labels: str) -> int:
    """A seed for what the labels name, at FIRST_SEED or above."""
    generator = np.random.default_rng([seed, *"/".join(labels).encode()])
    return FIRST_SEED + int(generator.integers(2**31 - FIRST_SEED))


def load_test_subject(path: Path, name: str, seed: int) -> RegisteredSubject:
    """The subject of a label map, cropped to the brain."""
    subject_seed = seed_of(seed, name)
    anatomy = crop_to_brain(from_labels(path, seed=subject_seed))
    # Label maps have specks beside the brain.
    brain = morphology.largest_component(reference_brain_mask(anatomy, CSF_MARGIN_VOXELS))
    return register(VirtualSubject(name, anatomy, subject_seed, brain), path)


def vendor_scanners(name: str, modality: Modality, seed: int) -> dict[str, Scanner]:
    """The typical scanner of each vendor, with small session effects that depend on the
    subject."""
    return {
        vendor: typical_scanner(vendor, modality, seed_of(seed, name, vendor))
        for vendor in BUILTIN_VENDORS
    }


def site_scanners(name: str, modality: Modality, seed: int) -> dict[str, Scanner]:
    """A scanner of each vendor's population, another for each subject."""
    return {
        f"{vendor}{SITE_SUFFIX}": vendor_scanner(vendor, modality, seed_of(seed, name, vendor))
        for vendor in BUILTIN_VENDORS
    }


def off_range_scanners(name: str, modality: Modality, seed: int) -> dict[str, Scanner]:
    """Scanners far from any vendor's, different ones for each subject."""
    return {
        scanner: random_scanner(modality, seed_of(seed, name, modality, scanner))
        for scanner in OFF_RANGE_SCANNERS
    }


def traveling_scans(
    subject: RegisteredSubject, modality: Modality, seed: int
) -> dict[str, NetworkInput]:
    """All scans of a test subject by name: typical scanners of the vendors and their repeats, one
    of each vendor's population, off-range scanners."""
    vendors = vendor_scanners(subject.name, modality, seed)
    repeats = {f"{vendor}{REPEAT_SUFFIX}": scanner for vendor, scanner in vendors.items()}
    sites = site_scanners(subject.name, modality, seed)
    scanners = vendors | repeats | sites | off_range_scanners(subject.name, modality, seed)
    return {
        name: scan_subject(subject, scanner, seed_of(seed, subject.name, modality, name, "noise"))
        for name, scanner in scanners.items()
    }


def measured_slices(on_grid: NetworkInput) -> NDArray[np.intp]:
    """Slices that contain brain at every third millimetre of the template, as in all subjects."""
    z = np.floor(on_grid.z + 0.5).astype(np.int64)
    return np.flatnonzero(on_grid.brain.any(axis=(0, 1)) & (z % SLICE_SPACING_MM == 0))


def select_slices(on_grid: NetworkInput, slices: NDArray[np.intp] | None = None) -> Slices:
    """Some slices of a scan; by default the measured ones."""
    if slices is None:
        slices = measured_slices(on_grid)
    corner = np.floor(on_grid.grid.affine[:2, 3] + 0.5).astype(int)
    return Slices(
        data=on_grid.data[:, :, slices],
        mask=on_grid.brain[:, :, slices],
        z=np.floor(on_grid.z[slices] + 0.5).astype(np.int64),
        corner=(int(corner[0]), int(corner[1])),
    )


def resample_to(slices: Slices, frame: Slices) -> NDArray[np.float32]:
    """Slices of one subject in the frame (X, Y, S) of another; 0 outside.

    Both lie on the 1 mm grid of the template, so that voxels are copied.
    """
    resampled = np.zeros_like(frame.data)
    offset = (slices.corner[0] - frame.corner[0], slices.corner[1] - frame.corner[1])
    target, source = [], []
    for frame_size, size, shift in zip(frame.data.shape, slices.data.shape, offset, strict=False):
        low = max(0, shift)
        high = max(low, min(frame_size, size + shift))
        target.append(slice(low, high))
        source.append(slice(low - shift, high - shift))
    for index, z in enumerate(frame.z):
        same_z = np.flatnonzero(slices.z == z)
        if same_z.size:
            resampled[target[0], target[1], index] = slices.data[source[0], source[1], same_z[0]]
    return resampled
