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

from bids_ihf.targets.contrast import same_protocol_weight
from bids_ihf.targets.intensity import (
    IntensityCurve,
    IntensityScale,
    landmark_curve,
    quantile_curve,
    weighted_mean_curve,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

POSITION_BIN_MM = 6.0
"""Thickness of a slice position, mm."""

LANDMARK_CURVE_WEIGHT = 0.25
"""Weight of the curve through the tissues' landmarks beside that through their quantiles."""

MIN_OVERLAP_FRACTION = 0.2
"""Share of a scan's brain voxels that must lie at positions its target covers, to match only
there."""


def slice_position(z: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each axial coordinate (mm)."""
    return np.floor(np.asarray(z) / POSITION_BIN_MM).astype(np.int64)


def position_centre(position: NDArray[np.int64]) -> NDArray[np.float64]:
    """Axial coordinate (mm) of the middle of each bin."""
    return np.asarray((np.asarray(position) + 0.5) * POSITION_BIN_MM, dtype=np.float64)


@frozen(eq=False)
class Profile:
    """Statistics of P slice positions: histograms (P, LEVELS) and embeddings (P, E).

    ``landmarks`` (3,) are the intensities of grey matter, white matter and CSF in network units,
    NaN where they could not be told; ``tissues`` (3, LEVELS) their histograms, 0 likewise.
    ``scans`` is how many they are the average of.
    """

    positions: NDArray[np.int64]
    histograms: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    landmarks: NDArray[np.float64]
    tissue_histograms: NDArray[np.float64]
    scale: IntensityScale
    scan_count: int = 1

    @property
    def reliability(self) -> float:
        """The scanner's share, 0 to 1, of what a scan differs by from this profile: the rest is
        owed to the few people that the profile comes from, as if the scan were one more of
        them."""
        return self.scan_count / (self.scan_count + 1)

    def embeddings_at(self, z: NDArray[np.float64]) -> NDArray[np.float32]:
        """Embeddings (len(z), E) at axial coordinates (mm), linear between bins, constant
        beyond."""
        centres = position_centre(self.positions)
        at = np.interp(z, centres, np.arange(len(centres)))
        below = np.floor(at).astype(np.intp)
        above = np.minimum(below + 1, len(centres) - 1)
        weight = (at - below)[:, None].astype(np.float32)
        return (1 - weight) * self.embeddings[below] + weight * self.embeddings[above]

    def curve_from(self, source: Profile) -> IntensityCurve:
        """The curve that matches a scan with the profile ``source`` to this one.

        Between the curve through the tissues' landmarks, which counts by MARKED, and that through
        the quantiles this profile would have with the tissue shares of the source's person; the
        second alone where landmarks are unknown or differ in order; plain quantiles where no
        tissue is known.
        """
        if not (self.tissue_histograms.any() and source.tissue_histograms.any()):
            return self.quantile_curve_from(source)
        weighed = self._tissue_curve_from(source)
        marked = landmark_curve(source.landmarks, self.landmarks)
        return (
            weighed
            if marked is None
            else weighted_mean_curve(marked, weighed, LANDMARK_CURVE_WEIGHT)
        )

    def _tissue_curve_from(self, source: Profile) -> IntensityCurve:
        """Quantiles of the tissues, in the shares that the source has of them.

        What shares differ by is the person's as far as the contrasts are of one protocol; else
        the scanners', which make of partial volume now one tissue and now another.
        """
        ours, theirs = (
            np.maximum(each / each.sum(), 1e-9)
            for each in (self.tissue_histograms.sum(axis=1), source.tissue_histograms.sum(axis=1))
        )
        weights = (theirs / ours) ** same_protocol_weight(source.landmarks, self.landmarks)
        return quantile_curve(
            source.tissue_histograms.sum(axis=0),
            (weights[:, None] * self.tissue_histograms).sum(axis=0),
        )

    def quantile_curve_from(self, source: Profile) -> IntensityCurve:
        """The curve through the quantiles of both brains.

        Both sides count only the positions they share, so that a slab is not matched to a whole
        head; where they share too little, both count all they have.
        """
        ours, theirs = self.histograms, source.histograms
        shared = np.isin(source.positions, self.positions)
        if theirs[shared].sum() >= MIN_OVERLAP_FRACTION * theirs.sum():
            ours, theirs = ours[np.isin(self.positions, source.positions)], theirs[shared]
        return quantile_curve(theirs.sum(axis=0), ours.sum(axis=0))


def merge_profiles(profiles: Sequence[Profile]) -> Profile:
    """One profile from those of several scans by the same scanner.

    Histograms are shares of each scan's brain, so that a large head counts no more than a small
    one; embeddings are means over the scans that cover a position; landmarks and scale are
    medians.
    """
    positions = np.unique(np.concatenate([p.positions for p in profiles]))
    histograms = np.zeros((len(positions), profiles[0].histograms.shape[1]))
    tissues = np.zeros_like(profiles[0].tissue_histograms)
    embeddings = np.zeros((len(positions), profiles[0].embeddings.shape[1]), dtype=np.float64)
    covered = np.zeros(len(positions))
    for profile in profiles:
        rows = np.searchsorted(positions, profile.positions)
        histograms[rows] += profile.histograms / profile.histograms.sum()
        tissues += profile.tissue_histograms / max(profile.tissue_histograms.sum(), 1e-9)
        embeddings[rows] += profile.embeddings
        covered[rows] += 1
    return Profile(
        positions=positions,
        histograms=histograms,
        embeddings=(embeddings / covered[:, None]).astype(np.float32),
        landmarks=_median([p.landmarks for p in profiles]),
        tissue_histograms=tissues,
        scale=IntensityScale(
            low=float(np.median([p.scale.low for p in profiles])),
            high=float(np.median([p.scale.high for p in profiles])),
        ),
        scan_count=sum(p.scan_count for p in profiles),
    )


def _median(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Median of each column over the rows that know it; NaN where none does."""
    table = np.stack(rows)
    known = np.isfinite(table)
    return np.array(
        [
            np.median(column[there]) if there.any() else np.nan
            for column, there in zip(table.T, known.T, strict=True)
        ]
    )
