"""Simulated traveling subjects in diffusion scanners: a slab of the head by three vendors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen
from scipy import ndimage

from bids_ihf.dwi.shell_fit import fit_shells
from bids_ihf.dwi.shells import find_shells
from bids_ihf.lab.benchmarks.virtual_subjects import REPEAT_SUFFIX, seed_of
from bids_ihf.lab.simulation.anatomy import crop_to_brain
from bids_ihf.lab.simulation.diffusion_session import start_session
from bids_ihf.lab.simulation.epi_scanner import vendor_epi_scanner
from bids_ihf.lab.simulation.gradient_scheme import gradient_table
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.virtual_subject import VirtualSubject
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.bids.gradient_tables import GradientTable
    from bids_ihf.dwi.shell_fit import ShellFit
    from bids_ihf.dwi.shells import Shell
    from bids_ihf.lab.simulation.anatomy import Anatomy

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

POOLING_FACTOR = 3
"""Voxels of the label map along each side of a diffusion voxel."""

SLAB_HEIGHT_MM = 36.0
"""Height of the slab around the brain's centre; whole heads would take four times as long."""

SHELL_VOLUMES: dict[float, int] = {0: 4, 1000: 24, 2000: 24, 3000: 24}
"""Number of volumes by b-value, s/mm2."""

TEMPLATE_CENTRE_MM = (0.0, -18.0, 12.0)
"""Centre of the template's brain, rounded."""

MIN_NEURAL_FRACTION, MIN_WHITE_FRACTION = 0.5, 0.8
"""Fractions of nervous tissue and of white matter above which voxels are measured."""


@frozen(eq=False)
class DiffusionSubject(VirtualSubject):
    """A virtual subject with masks (X, Y, Z) of the voxels that are measured.

    Attributes
    ----------
    inside
        Brain without its outermost voxels.
    neural, white
        Nervous tissue, and white matter.
    path
        The label map.
    to_template
        Map (4, 4) that brings the centre of the whole brain to that of the template's, RAS mm.
    """

    inside: Mask
    neural: Mask
    white: Mask
    path: Path = Path("subject")
    to_template: NDArray[np.float64] = field(factory=lambda: np.eye(4))


@frozen(eq=False)
class DiffusionScan:
    """One series (N, X, Y, Z) with its table, directions along the array's axes."""

    volumes: Array
    gradients: GradientTable

    @property
    def shells(self) -> tuple[Shell, ...]:
        """The b = 0 volumes and the weighted shells."""
        return find_shells(self.gradients.bvals)

    def fits(self, mask: Mask) -> tuple[ShellFit, ...]:
        """The fit of each shell in the voxels of a mask."""
        return fit_shells(self.volumes, self.gradients, self.shells, mask)


def load_diffusion_subject(path: Path, name: str, seed: int) -> DiffusionSubject:
    """The subject of a label map, averaged to diffusion voxels and cut to the slab."""
    subject_seed = seed_of(seed, name)
    fine = crop_to_brain(from_labels(path, seed=subject_seed))
    anatomy = slab_of(fine.averaged((POOLING_FACTOR, POOLING_FACTOR, POOLING_FACTOR)))
    brain: Mask = anatomy.brain.numpy()
    white, grey, deep_grey = (anatomy.fraction(name) for name in ("white", "grey", "deep_grey"))
    return DiffusionSubject(
        name,
        anatomy,
        subject_seed,
        brain,
        inside=ndimage.binary_erosion(brain, border_value=1),
        neural=brain & (white + grey + deep_grey > MIN_NEURAL_FRACTION),
        white=brain & (white > MIN_WHITE_FRACTION),
        path=path,
        to_template=_centred(fine),
    )


def _centred(anatomy: Anatomy) -> NDArray[np.float64]:
    """The shift that brings the centre of a brain to `TEMPLATE_CENTRE_MM`."""
    shift = np.eye(4)
    centre = anatomy.affine[:3, :3] @ anatomy.brain_centre() + anatomy.affine[:3, 3]
    shift[:3, 3] = TEMPLATE_CENTRE_MM - centre
    return shift


def slab_of(anatomy: Anatomy) -> Anatomy:
    """The axial slices within half SLAB_HEIGHT_MM of the brain's centre."""
    centre = float(np.argwhere(anatomy.brain.numpy())[:, 2].mean())
    half = SLAB_HEIGHT_MM / 2 / float(anatomy.zooms[2])
    slices = slice(max(round(centre - half), 0), round(centre + half))
    return anatomy.cropped((slice(0, None), slice(0, None), slices))


def scan_diffusion_subject(
    subject: DiffusionSubject, seed: int, *, repeats: bool
) -> dict[str, DiffusionScan]:
    """The subject's series by each vendor's scanner, and on request a second one by each."""
    scans = {}
    for vendor in BUILTIN_VENDORS:
        scanner = vendor_epi_scanner(vendor, seed_of(seed, subject.name, vendor, "dwi"))
        session = start_session(subject.anatomy, scanner, subject.seed)
        gradients = gradient_table(SHELL_VOLUMES, sum(vendor.encode()))
        for suffix in ("", REPEAT_SUFFIX) if repeats else ("",):
            noise_seed = seed_of(seed, subject.name, vendor, "dwi noise", suffix)
            volumes = np.stack(list(session.volumes(gradients, noise_seed)))
            scans[vendor + suffix] = DiffusionScan(volumes, gradients)
    return scans
