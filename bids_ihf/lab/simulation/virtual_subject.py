"""Virtual subjects: simulated anatomies with their reference masks, ready to be scanned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from attrs import frozen

from bids_ihf.io.nifti import Volume
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.reference_segmentation import reference_segmentation
from bids_ihf.preprocessing import alignment, bias_field
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.network_input import to_network_input

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.preprocessing.segmentation import Segmentation
    from bids_ihf.targets.network_input import NetworkInput

MIN_WHITE_MATTER_FRACTION = 0.95
"""White-matter fraction of the voxels whose median calibrates the units of a scan."""

N4_VOXEL_MM = 4
"""Voxel size of N4's grid, mm: that of the benchmarks whose results are published, kept so that
new ones compare with them; the product's for whole brains is coarser by now, see `bias_field`."""


@frozen(eq=False)
class VirtualSubject:
    """A subject who exists only as an anatomy.

    name: the subject's label.
    anatomy: tissue fractions and texture on the grid that is scanned.
    seed: draws all that is random in the subject; the same for each of the subject's scans.
    brain: (X, Y, Z) bool, reference brain mask on the grid of the anatomy.
    """

    name: str
    anatomy: Anatomy
    seed: int
    brain: NDArray[np.bool_]


@frozen(eq=False)
class RegisteredSubject(VirtualSubject):
    """A virtual subject whose scans need neither segmentation nor registration.

    segmentation: reference tissue fractions.
    to_template: (4, 4) rigid, the subject's world to template space, RAS mm.
    path: the label map the anatomy was made of.
    """

    segmentation: Segmentation
    to_template: NDArray[np.float64]
    path: Path

    def prepared(self, data: NDArray[np.float32]) -> Prepared:
        """An image (X, Y, Z) of the subject as if preprocessing had made no error."""
        affine = self.anatomy.affine
        header = nib.Nifti1Image(data, affine).header
        return Prepared(
            volume=Volume(data=data, affine=affine, header=header, path=self.path),
            bias=np.ones_like(data), mask=self.brain, segmentation=self.segmentation,
            stripped=False, to_template=self.to_template, similarity=None,
        )  # fmt: skip


def register(subject: VirtualSubject, path: Path) -> RegisteredSubject:
    """Add the reference segmentation and register it to the template; takes about 20 s.

    ``path`` is the label map the subject's anatomy was made of.
    """
    segmentation = reference_segmentation(subject.anatomy, subject.brain)
    to_template = alignment.align_to_template(segmentation).matrix
    return RegisteredSubject(
        subject.name, subject.anatomy, subject.seed, subject.brain, segmentation, to_template, path
    )


def scan_subject(subject: RegisteredSubject, scanner: Scanner, noise_seed: int) -> NetworkInput:
    """Scan a subject, correct for bias and resample once, to the grid of the network.

    White matter is at the scanner's ``units`` after the correction, so that a vendor's scans
    share one gain (see `calibrate_units`).
    """
    image = scan(subject.anatomy, scanner, noise_seed)
    affine = subject.anatomy.affine
    image /= bias_field.bias_field(image, affine, subject.brain, shrink=N4_VOXEL_MM)
    image = calibrate_units(image, subject.anatomy, scanner)
    return to_network_input(subject.prepared(image), scanner.protocol.modality)


def calibrate_units(
    image: NDArray[np.float32], anatomy: Anatomy, scanner: Scanner
) -> NDArray[np.float32]:
    """Scale a scan (X, Y, Z) so that the median of its white matter is the scanner's ``units``.

    The gain of a single scan is arbitrary and cannot be predicted from scans of other subjects;
    left as the simulated fields make it, it would outweigh the differences between methods.
    """
    white = anatomy.fraction("white") > MIN_WHITE_MATTER_FRACTION
    median = float(np.median(image[white & anatomy.brain.numpy()]))
    return image * np.float32(scanner.units / median)
