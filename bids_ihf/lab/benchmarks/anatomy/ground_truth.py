"""The true anatomy of a simulated subject on the network's grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.geometry.grid import Grid, inverse_affine, resample
from bids_ihf.lab.benchmarks.anatomy.preservation import MIN_PURE_FRACTION
from bids_ihf.lab.simulation.tissues import MEASURED_TISSUES
from bids_ihf.targets.network_input import to_network_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.metrics.tissues import Tissue
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject

ANATOMY_SLICE_SPACING_MM = 6
"""Distance of the slices that are measured."""


@frozen(eq=False)
class GroundTruth:
    """The true anatomy in the measured slices.

    Attributes
    ----------
    slices
        Indices on the network's grid, (S,).
    fractions
        Of grey matter, white matter and CSF, (3, X, Y, S).
    mask, lesion
        Brain and lesions, (X, Y, S).
    """

    slices: NDArray[np.intp]
    fractions: NDArray[np.float32]
    mask: NDArray[np.bool_]
    lesion: NDArray[np.bool_]

    def pure(self, tissue: Tissue) -> NDArray[np.bool_]:
        """Healthy voxels that represent one tissue."""
        return self.mask & (self.fractions[tissue] > MIN_PURE_FRACTION) & ~self.lesion


def ground_truth(subject: RegisteredSubject, lesion: NDArray[np.bool_]) -> GroundTruth:
    """Tissue fractions, mask and lesions (X, Y, Z) of a subject on the network's grid."""
    fractions = [
        to_network_input(subject.prepared(subject.anatomy.fraction(*tissues).astype(np.float32)))
        for tissues in MEASURED_TISSUES
    ]
    grid, brain = fractions[0].grid, fractions[0].brain
    lesion_on_grid = resample(
        lesion.astype(np.float32), Grid(subject.anatomy.shape, subject.anatomy.affine), grid,
        target_to_source=inverse_affine(subject.to_template), order=1,
    )  # fmt: skip
    spacing = ANATOMY_SLICE_SPACING_MM
    slices = np.flatnonzero(brain.any(axis=(0, 1)))[spacing // 2 :: spacing]
    return GroundTruth(
        slices=slices,
        fractions=np.stack([fraction.data[..., slices] for fraction in fractions]),
        mask=brain[..., slices],
        lesion=lesion_on_grid[..., slices] > 0.5,
    )
