"""What simple methods know of a target: scans of other people by the vendor's scanners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.virtual_subjects import cut, seed_of, vendor_scanners
from bids_ihf.lab.simulation.virtual_subject import scan_subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.virtual_subjects import Slices
    from bids_ihf.lab.simulation.protocol import Modality
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject

STRIDE = 4
"""Every how many brain voxels one is kept."""

SCANNER = "reference"
"""Sets the scanners' seeds apart from those of the people who are measured."""


@frozen(eq=False)
class Reference:
    """Scans of a target by several people: brain voxels (N,) of each, the slices of one, and
    where their brains end (median of the 99.9th percentiles)."""

    voxels: tuple[NDArray[np.float32], ...]
    slices: Slices
    high: float

    @property
    def pooled(self) -> NDArray[np.float32]:
        """The brain voxels of all."""
        return np.concatenate(self.voxels)


def reference_scans(
    subject: RegisteredSubject, person: str, modality: Modality, seed: int
) -> dict[str, Slices]:
    """A person's scan by each vendor's scanner."""
    own = seed_of(seed, SCANNER)
    return {
        vendor: cut(
            scan_subject(subject, scanner, seed_of(own, person, modality, vendor, "noise"))
        )
        for vendor, scanner in vendor_scanners(person, modality, own).items()
    }


def make_reference(scans: Sequence[Slices]) -> Reference:
    """What is kept of the scans of several people by one vendor."""
    ends = [np.percentile(scan.data[scan.mask], 99.9) for scan in scans]
    voxels = [scan.data[scan.mask][::STRIDE] for scan in scans]
    return Reference(tuple(voxels), scans[0], float(np.median(ends)))
