"""What the baselines know of a target: scans of other subjects by the vendor's scanners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.virtual_subjects import seed_of, select_slices, vendor_scanners
from bids_ihf.lab.simulation.virtual_subject import scan_subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject

VOXEL_STRIDE = 4
"""Every how many brain voxels one is kept."""

SEED_LABEL = "reference"
"""Separates the scanners' seeds from those of the test subjects."""


@frozen(eq=False)
class PooledReference:
    """Scans of several subjects by a vendor.

    Attributes
    ----------
    voxels
        Brain voxels (N,) of each subject, every VOXEL_STRIDE-th.
    slices
        The slices of the first subject.
    high
        Median over subjects of the 99.9th percentile of the brain.
    """

    voxels: tuple[NDArray[np.float32], ...]
    slices: Slices
    high: float

    @property
    def pooled(self) -> NDArray[np.float32]:
        """The brain voxels of all subjects."""
        return np.concatenate(self.voxels)


def scan_reference_subject(
    subject: RegisteredSubject, modality: Modality, seed: int
) -> dict[str, Slices]:
    """A subject's scan by each vendor's scanner."""
    reference_seed = seed_of(seed, SEED_LABEL)
    scans = {}
    for vendor, scanner in vendor_scanners(subject.name, modality, reference_seed).items():
        noise_seed = seed_of(reference_seed, subject.name, modality, vendor, "noise")
        scans[vendor] = select_slices(scan_subject(subject, scanner, noise_seed))
    return scans


def pool_references(scans: Sequence[Slices]) -> PooledReference:
    """What is kept of the scans of several subjects by one vendor."""
    highs = [np.percentile(scan.data[scan.mask], 99.9) for scan in scans]
    voxels = [scan.data[scan.mask][::VOXEL_STRIDE] for scan in scans]
    return PooledReference(tuple(voxels), scans[0], float(np.median(highs)))
