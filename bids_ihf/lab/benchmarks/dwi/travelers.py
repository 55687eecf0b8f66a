"""Simulated traveling people in diffusion scanners: a slab of one head through three vendors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.lab.simulation.anatomy import crop_to_brain
from bids_ihf.lab.simulation.diffusion_session import start_session
from bids_ihf.lab.simulation.epi_scanner import vendor_epi_scanner
from bids_ihf.lab.simulation.gradient_scheme import gradient_table
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.virtual_subject import VirtualSubject
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.bids.gradient_tables import GradientTable
    from bids_ihf.dwi.shell_fit import ShellFit
    from bids_ihf.dwi.shells import Shell
    from bids_ihf.lab.simulation.anatomy import Anatomy

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

FACTOR = 3
"""Voxels of the label map along each side of a diffusion voxel."""

SLAB_MM = 36.0
"""Height of the slab about the brain's centre; whole heads would take four times as long."""

SHELLS: dict[float, int] = {0: 4, 1000: 24, 2000: 24, 3000: 24}
"""Volumes at each b-value, s/mm2."""

NEURAL, WHITE = 0.5, 0.8
"""Least share of nervous tissue and of white matter in the voxels that are measured."""

AGAIN = " again"
"""Ends the name of the second series by the same scanner."""


@frozen(eq=False)
class DiffusionSubject(VirtualSubject):
    """A virtual subject with the masks (X, Y, Z) of what is measured: the inside of the brain,
    nervous tissue and white matter."""

    inside: Mask
    neural: Mask
    white: Mask


@frozen(eq=False)
class Scan:
    """One series (N, X, Y, Z) with its table, directions along the array's axes."""

    volumes: Array
    gradients: GradientTable

    @property
    def shells(self) -> tuple[Shell, ...]:
        """b 0 and the weighted shells."""
        from bids_ihf.dwi.shells import find_shells

        return find_shells(self.gradients.bvals)

    def fits(self, where: Mask) -> tuple[ShellFit, ...]:
        """The fit of each shell in some voxels."""
        from bids_ihf.dwi.shell_fit import fit_shells

        return fit_shells(self.volumes, self.gradients, self.shells, where)


def load_diffusion_subject(path: Path, name: str, seed: int) -> DiffusionSubject:
    """The subject of a label map, averaged to diffusion voxels and cut to the slab."""
    subject_seed = seed_of(seed, name)
    anatomy = slab(
        crop_to_brain(from_labels(path, seed=subject_seed)).averaged((FACTOR, FACTOR, FACTOR))
    )
    brain: Mask = anatomy.brain.numpy()
    white, grey, deep_grey = (anatomy.fraction(name) for name in ("white", "grey", "deep_grey"))
    return DiffusionSubject(
        name,
        anatomy,
        subject_seed,
        brain,
        ndimage.binary_erosion(brain, border_value=1),
        brain & (white + grey + deep_grey > NEURAL),
        brain & (white > WHITE),
    )


def slab(anatomy: Anatomy) -> Anatomy:
    """The axial slices within half SLAB_MM of the brain's centre."""
    middle = float(np.argwhere(anatomy.brain.numpy())[:, 2].mean())
    half = SLAB_MM / 2 / float(anatomy.zooms[2])
    rows = slice(max(round(middle - half), 0), round(middle + half))
    return anatomy.cropped((slice(0, None), slice(0, None), rows))


def scan_diffusion_subject(person: DiffusionSubject, seed: int, *, again: bool) -> dict[str, Scan]:
    """The person's series by each vendor's scanner, and, if wanted, a second one by each."""
    found = {}
    for vendor in BUILTIN_VENDORS:
        scanner = vendor_epi_scanner(vendor, seed_of(seed, person.name, vendor, "dwi"))
        lying = start_session(person.anatomy, scanner, person.seed)
        gradients = gradient_table(SHELLS, sum(vendor.encode()))
        for end in ("", AGAIN) if again else ("",):
            noise = seed_of(seed, person.name, vendor, "dwi noise", end)
            volumes = np.stack(list(lying.volumes(gradients, noise)))
            found[vendor + end] = Scan(volumes, gradients)
    return found
