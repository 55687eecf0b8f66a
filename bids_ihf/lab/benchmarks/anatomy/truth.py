"""What is known of a simulated person's anatomy, on the network's grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.anatomy.preservation import MIN_PURE_FRACTION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.targets.network_input import NetworkInput

SPACING = 6
"""Distance of the slices that are measured, mm."""

GROUPS = (("grey", "deep_grey"), ("white",), ("csf",))
"""Simulated tissues behind the shares of grey matter, white matter and CSF."""


@frozen(eq=False)
class Truth:
    """What is known of the measured ``slices`` (S,): shares (3, X, Y, S) of grey matter, white
    matter and CSF, brain mask and lesions (X, Y, S)."""

    slices: NDArray[np.intp]
    shares: NDArray[np.float32]
    mask: NDArray[np.bool_]
    lesion: NDArray[np.bool_]

    def pure(self, tissue: int) -> NDArray[np.bool_]:
        """Voxels of one tissue alone."""
        return self.mask & (self.shares[tissue] > MIN_PURE_FRACTION) & ~self.lesion


def known_truth(subject: RegisteredSubject, lesion: NDArray[np.bool_]) -> Truth:
    """Shares, mask and lesions of a person (X, Y, Z) on the network's grid."""
    from bids_ihf.geometry.grid import Grid, inverse_affine, resample

    shares = [on_grid_of(subject, subject.anatomy.fraction(*group)) for group in GROUPS]
    spots = resample(
        lesion.astype(np.float32), Grid(subject.anatomy.shape, subject.anatomy.affine),
        shares[0].grid,
        target_to_source=inverse_affine(subject.to_template), order=1,
    )  # fmt: skip
    brain = shares[0].brain
    slices = np.flatnonzero(brain.any(axis=(0, 1)))[SPACING // 2 :: SPACING]
    return Truth(
        slices=slices,
        shares=np.stack([share.data[..., slices] for share in shares]),
        mask=brain[..., slices],
        lesion=spots[..., slices] > 0.5,
    )


def on_grid_of(subject: RegisteredSubject, data: NDArray[np.float32]) -> NetworkInput:
    """An array (X, Y, Z) of the person on the network's grid, with the known mask."""
    from bids_ihf.targets.network_input import to_network_input

    return to_network_input(subject.prepared(data.astype(np.float32)))
