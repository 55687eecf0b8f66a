"""Simulated traveling people to measure with: one anatomy through several scanners.

Bias is corrected by the product's own means, as in a real run; masks and alignment are the known
ones, the same for all scans of a person, so that methods are compared and not registrations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.simulation.anatomy import crop_to_brain
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.reference_segmentation import reference_brain_mask
from bids_ihf.lab.simulation.virtual_subject import VirtualSubject, register, scan_subject
from bids_ihf.preprocessing import morphology
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.protocol import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.targets.network_input import NetworkInput

FIRST_SEED = 900_000
"""Seeds of the benchmark start here; those of training are far below."""

OFF_RANGE = ("off-range 1", "off-range 2")
AGAIN = " again"
"""Ends the name of the second scan by the same scanner."""

SPACING = 3
"""Distance (mm) of the slices that are measured."""

CSF_MARGIN_VOXELS = 2
"""Voxels of CSF around the brain that belong to its mask."""


@frozen(eq=False)
class Slices:
    """Axial slices (X, Y, S) of a bias-corrected scan in its own units, with their brain mask.

    ``z`` (S,) and ``corner`` (of voxel 0, 0) are template coordinates, mm.
    """

    data: NDArray[np.float32]
    mask: NDArray[np.bool_]
    z: NDArray[np.int64]
    corner: tuple[int, int]


def seed_of(seed: int, *words: str) -> int:
    """A seed for what the words name, at FIRST_SEED or above."""
    generator = np.random.default_rng([seed, *"/".join(words).encode()])
    return FIRST_SEED + int(generator.integers(2**31 - FIRST_SEED))


def load_test_subject(path: Path, name: str, seed: int) -> RegisteredSubject:
    """The subject of a label map, cropped to the brain."""
    subject_seed = seed_of(seed, name)
    anatomy = crop_to_brain(from_labels(path, seed=subject_seed))
    # Label maps have specks beside the brain.
    brain = morphology.largest_component(reference_brain_mask(anatomy, CSF_MARGIN_VOXELS))
    return register(VirtualSubject(name, anatomy, subject_seed, brain), path)


def vendor_scanners(person: str, modality: Modality, seed: int) -> dict[str, Scanner]:
    """A scanner of each vendor, with the small changes from scan to scan that are the
    person's."""
    from bids_ihf.lab.simulation.scanner import vendor_scanner

    return {
        vendor: vendor_scanner(vendor, modality, seed_of(seed, person, vendor))
        for vendor in BUILTIN_VENDORS
    }


def off_range_scanners(person: str, modality: Modality, seed: int) -> dict[str, Scanner]:
    """Scanners far from any vendor's, others for every person."""
    from bids_ihf.lab.simulation.scanner import random_scanner

    return {
        name: random_scanner(modality, seed_of(seed, person, modality, name)) for name in OFF_RANGE
    }


def traveling_scans(
    subject: RegisteredSubject, person: str, modality: Modality, seed: int
) -> dict[str, NetworkInput]:
    """All scans of a test person by name: vendors, vendors again, off-range scanners."""
    vendors = vendor_scanners(person, modality, seed)
    again = {f"{name}{AGAIN}": scanner for name, scanner in vendors.items()}
    everyone = vendors | again | off_range_scanners(person, modality, seed)
    return {
        name: scan_subject(subject, scanner, seed_of(seed, person, modality, name, "noise"))
        for name, scanner in everyone.items()
    }


def measured_slices(on_grid: NetworkInput) -> NDArray[np.intp]:
    """Slices that show brain at every third millimetre of the template, alike for all people."""
    at = np.floor(on_grid.z + 0.5).astype(np.int64)
    return np.flatnonzero(on_grid.brain.any(axis=(0, 1)) & (at % SPACING == 0))


def cut(on_grid: NetworkInput, data: NDArray[np.float32] | None = None) -> Slices:
    """The measured slices of a scan, or of another image on its grid."""
    chosen = measured_slices(on_grid)
    corner = np.floor(on_grid.grid.affine[:2, 3] + 0.5).astype(int)
    values = on_grid.data if data is None else data
    return Slices(
        data=values[:, :, chosen],
        mask=on_grid.brain[:, :, chosen],
        z=np.floor(on_grid.z[chosen] + 0.5).astype(np.int64),
        corner=(int(corner[0]), int(corner[1])),
    )


def laid_over(other: Slices, frame: Slices) -> NDArray[np.float32]:
    """Slices of another person in the frame (X, Y, S) of this one; 0 where they show nothing."""
    out = np.zeros_like(frame.data)
    shift = (other.corner[0] - frame.corner[0], other.corner[1] - frame.corner[1])
    into, taken = [], []
    for size, theirs, by in zip(out.shape, other.data.shape, shift, strict=False):
        low, high = max(0, by), min(size, theirs + by)
        into.append(slice(low, max(low, high)))
        taken.append(slice(low - by, max(low, high) - by))
    for index, z in enumerate(frame.z):
        found = np.flatnonzero(other.z == z)
        if found.size:
            out[into[0], into[1], index] = other.data[taken[0], taken[1], found[0]]
    return out
