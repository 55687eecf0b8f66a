"""What one scanner's images of one modality look like, by slice position.

Positions are axial bins of template space, ``BIN`` millimetres thick.  A profile holds the
histogram of brain intensities and the encoder's statistics (Eq. 1 of arXiv 2602.21536) for every
bin that its reference scans cover, and the scale that leads from network units to the scanner's
own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.volume.intensity import IntensityCurve, Scale, matching_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BIN = 6.0
"""Thickness of a slice position, mm."""

MIN_OVERLAP = 0.2
"""Share of a scan's brain voxels that must lie at positions its target covers, to match only
there."""


def position_of(z: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each axial coordinate (mm)."""
    return np.floor(np.asarray(z) / BIN).astype(np.int64)


def centre_of(position: NDArray[np.int64]) -> NDArray[np.float64]:
    """Axial coordinate (mm) of the middle of each bin."""
    return np.asarray((np.asarray(position) + 0.5) * BIN, dtype=np.float64)


@frozen(eq=False)
class Profile:
    """Statistics of P slice positions: histograms (P, LEVELS) and embeddings (P, E)."""

    positions: NDArray[np.int64]
    histograms: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    scale: Scale

    def embeddings_at(self, z: NDArray[np.float64]) -> NDArray[np.float32]:
        """Embeddings (len(z), E) at axial coordinates (mm), linear between bins, constant
        beyond."""
        centres = centre_of(self.positions)
        at = np.interp(z, centres, np.arange(len(centres)))
        below = np.floor(at).astype(np.intp)
        above = np.minimum(below + 1, len(centres) - 1)
        weight = (at - below)[:, None].astype(np.float32)
        return (1 - weight) * self.embeddings[below] + weight * self.embeddings[above]

    def curve_from(
        self, positions: NDArray[np.int64], histograms: NDArray[np.float64]
    ) -> IntensityCurve:
        """The curve that matches a scan with these histograms by position to this profile.

        Both sides count only the positions they share, so that a slab is not matched to a whole
        head; where they share too little, both count all they have.
        """
        shared = np.isin(positions, self.positions)
        if histograms[shared].sum() < MIN_OVERLAP * histograms.sum():
            return matching_curve(histograms.sum(axis=0), self.histograms.sum(axis=0))
        theirs = np.isin(self.positions, positions)
        return matching_curve(histograms[shared].sum(axis=0), self.histograms[theirs].sum(axis=0))


def merge(profiles: Sequence[Profile]) -> Profile:
    """One profile from those of several scans by the same scanner.

    Histograms are shares of each scan's brain, so that a large head counts no more than a small
    one; embeddings are means over the scans that cover a position; the scale is the median.
    """
    positions = np.unique(np.concatenate([p.positions for p in profiles]))
    histograms = np.zeros((len(positions), profiles[0].histograms.shape[1]))
    embeddings = np.zeros((len(positions), profiles[0].embeddings.shape[1]), dtype=np.float64)
    covered = np.zeros(len(positions))
    for profile in profiles:
        rows = np.searchsorted(positions, profile.positions)
        histograms[rows] += profile.histograms / profile.histograms.sum()
        embeddings[rows] += profile.embeddings
        covered[rows] += 1
    return Profile(
        positions=positions,
        histograms=histograms,
        embeddings=(embeddings / covered[:, None]).astype(np.float32),
        scale=Scale(
            low=float(np.median([p.scale.low for p in profiles])),
            high=float(np.median([p.scale.high for p in profiles])),
        ),
    )
