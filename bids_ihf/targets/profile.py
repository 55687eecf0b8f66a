"""The profile of a scanner's images of one anatomical modality, by slice position.

Positions are axial bins of template space, POSITION_MM thick.  A profile holds the histogram
of brain intensities and the encoder's channel statistics (Eq. 1 of arXiv 2602.21536) at every
position that its reference scans cover, and the scale from network units to scanner units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from bids_ihf.targets.contrast import Landmarks, same_protocol_weight
from bids_ihf.targets.curve_estimate import quantile_curve
from bids_ihf.targets.intensity import (
    HISTOGRAM_BINS,
    HISTOGRAM_RANGE,
    Counts,
    IntensityCurve,
    IntensityScale,
    histogram_quantiles,
)
from bids_ihf.targets.partial_volume import tissue_pairs
from bids_ihf.targets.regional import POSITION_MM, Regions, empty_regions, pixels_of

MEDIAN = np.array(0.5)
"""Probability of the median."""

MIN_OVERLAP_FRACTION = 0.2
"""Fraction of a scan's brain voxels that must lie at positions covered by the target, for only
those to be compared."""


def slice_position(z: NDArray[np.float64]) -> NDArray[np.int64]:
    """Position of each axial coordinate (mm).

    >>> slice_position(np.array([-0.5, 0.0, 5.9, 6.0]))
    array([-1,  0,  0,  1])
    """
    return np.floor(np.asarray(z) / POSITION_MM).astype(np.int64)


def position_centre(position: NDArray[np.int64]) -> NDArray[np.float64]:
    """Axial coordinate (mm) of the centre of each position."""
    return np.asarray((np.asarray(position) + 0.5) * POSITION_MM, dtype=np.float64)


@frozen(eq=False)
class Profile:
    """Statistics of one scan, or the mean of several, at P slice positions.

    By position, in ascending order, ``histograms`` (P, HISTOGRAM_BINS) of brain intensities in
    network units and ``embeddings`` (P, E); of the whole brain the tissue ``landmarks`` (3,), NaN
    if unavailable, and ``tissue_histograms`` (3, HISTOGRAM_BINS), zero if unavailable.
    ``regions`` (P or 0, X, Y, tissue, 2), see `sum_by_region`, are empty if unavailable.
    ``scale`` maps network units to scanner units; ``scan_count`` is the number of scans.
    """

    positions: NDArray[np.int64]
    histograms: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    landmarks: Landmarks
    tissue_histograms: NDArray[np.float64]
    scale: IntensityScale
    scan_count: int = 1
    regions: Regions = field(factory=empty_regions)

    def require_consistent(self) -> None:
        """Raise ValueError unless shapes match, values are finite, and the scale is not empty."""
        count = len(self.positions)
        shapes = (
            self.positions.shape == (count,),
            self.histograms.shape == (count, HISTOGRAM_BINS),
            self.embeddings.ndim == 2 and len(self.embeddings) == count,
            self.landmarks.shape == (3,),
            self.tissue_histograms.shape == (3, HISTOGRAM_BINS),
            self.regions.shape[1:] == empty_regions().shape[1:],
            len(self.regions) in (0, count),
        )
        if not (count > 0 and self.scan_count > 0 and all(shapes)):
            raise ValueError("its arrays do not fit each other")
        arrays = (self.histograms, self.embeddings, self.tissue_histograms, self.regions)
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("not all its values are finite")
        if not self.scale.high > self.scale.low:
            raise ValueError("its intensity range is empty")

    def embeddings_at(self, z: NDArray[np.float64]) -> NDArray[np.float32]:
        """Embeddings (len(z), E) at axial coordinates z (mm), interpolated linearly between
        positions and constant beyond."""
        centres = position_centre(self.positions)
        row = np.interp(z, centres, np.arange(len(centres)))
        below = np.floor(row).astype(np.intp)
        above = np.minimum(below + 1, len(centres) - 1)
        weight = (row - below)[:, None].astype(np.float32)
        return (1 - weight) * self.embeddings[below] + weight * self.embeddings[above]

    def curve_from(self, scan: Profile) -> IntensityCurve:
        """The curve that matches the intensities of a scan to this profile.

        It is estimated from the quantiles that this profile would have with the scan's tissue
        volumes; from those of the whole brain where no tissue is available.
        """
        if self.tissue_histograms.any() and scan.tissue_histograms.any():
            return self.tissue_curve_from(scan)
        return self.quantile_curve_from(scan)

    def subject_variance(self, scan: Profile) -> float:
        """Variance between both profiles that is due to subjects, relative to a single one's."""
        return 1 / self.scan_count + 1 / scan.scan_count

    def tissue_curve_from(self, scan: Profile) -> IntensityCurve:
        """The curve by quantiles of the tissues, in the tissue fractions of the scan.

        Differences in tissue fractions are attributed to the subject as far as both contrasts may
        be of one protocol; beyond, to the scanners, as contrast decides to which tissue partial
        volume is assigned.  Between the scan's tissues the curve is about straight.
        """
        target_fractions, scan_fractions = (
            np.maximum(volumes / volumes.sum(), 1e-9)
            for volumes in (self.tissue_histograms.sum(axis=1), scan.tissue_histograms.sum(axis=1))
        )
        exponent = same_protocol_weight(scan.landmarks, self.landmarks)
        weights = (scan_fractions / target_fractions) ** exponent
        reweighted = (weights[:, None] * self.tissue_histograms).sum(axis=0)
        return quantile_curve(
            scan.tissue_histograms.sum(axis=0),
            reweighted,
            self.subject_variance(scan),
            tissue_pairs(scan.landmarks),
        )

    def quantile_curve_from(self, scan: Profile) -> IntensityCurve:
        """The curve by quantiles of the brain.

        Only positions that both profiles cover count, so that a slab is not matched to a whole
        head; where the overlap is too small, each profile counts with all its positions.
        """
        target_rows, scan_rows = self.histograms, scan.histograms
        shared = np.isin(scan.positions, self.positions)
        if scan_rows[shared].sum() >= MIN_OVERLAP_FRACTION * scan_rows.sum():
            target_rows = target_rows[np.isin(self.positions, scan.positions)]
            scan_rows = scan_rows[shared]
        return quantile_curve(
            scan_rows.sum(axis=0), target_rows.sum(axis=0), self.subject_variance(scan)
        )


def aligned_by_median(profiles: Sequence[Profile]) -> list[Profile]:
    """Profiles with their intensities scaled so that the brain has one median in all.

    The 99.9th percentile of a brain, which is 1 in network units, is that of a few bright rims,
    vessels or lesions, and differs between subjects by more than the signal of their tissues.
    """
    medians = [float(histogram_quantiles(p.histograms.sum(axis=0), MEDIAN)) + 1 for p in profiles]
    common = float(np.median(medians))
    return [
        _scaled(profile, common / median) if 0 < median != common else profile
        for profile, median in zip(profiles, medians, strict=True)
    ]


def _scaled(profile: Profile, gain: float) -> Profile:
    """A profile with its network units made smaller by a gain, the same in scanner units;
    embeddings are kept."""
    low = profile.scale.low

    def scale_counts(counts: Counts) -> Counts:
        edges = np.linspace(*HISTOGRAM_RANGE, HISTOGRAM_BINS + 1)
        cumulative = np.concatenate([[0.0], np.cumsum(counts)])
        inner = np.interp((edges[1:-1] + 1) / gain - 1, edges, cumulative)
        return np.diff(np.concatenate([[0.0], inner, cumulative[-1:]]))

    return evolve(
        profile,
        histograms=np.apply_along_axis(scale_counts, 1, profile.histograms),
        tissue_histograms=np.apply_along_axis(scale_counts, 1, profile.tissue_histograms),
        landmarks=(profile.landmarks + 1) * gain - 1,
        regions=profile.regions * (1.0, gain),
        scale=IntensityScale(low, low + (profile.scale.high - low) / gain),
    )


def merge_profiles(profiles: Sequence[Profile]) -> Profile:
    """One profile from those of several scans by one scanner.

    Histograms are sums of each scan's relative frequencies, after :func:`aligned_by_median`, so
    that neither head size nor gain matters; embeddings are means over the scans that cover a
    position; landmarks and scale are medians.
    """
    profiles = aligned_by_median(profiles)
    positions = np.unique(np.concatenate([p.positions for p in profiles]))
    histograms = np.zeros((len(positions), profiles[0].histograms.shape[1]))
    tissue_histograms = np.zeros_like(profiles[0].tissue_histograms)
    embeddings = np.zeros((len(positions), profiles[0].embeddings.shape[1]), dtype=np.float64)
    coverage = np.zeros(len(positions))
    has_regions = all(len(profile.regions) for profile in profiles)
    regions = empty_regions(len(positions) if has_regions else 0)
    for profile in profiles:
        rows = np.searchsorted(positions, profile.positions)
        histograms[rows] += profile.histograms / profile.histograms.sum()
        tissue_histograms += profile.tissue_histograms / max(profile.tissue_histograms.sum(), 1e-9)
        embeddings[rows] += profile.embeddings
        coverage[rows] += 1
        if has_regions:
            regions[rows] += profile.regions / max(pixels_of(profile.regions).mean(), 1e-9)
    return Profile(
        positions=positions,
        histograms=histograms,
        embeddings=(embeddings / coverage[:, None]).astype(np.float32),
        landmarks=np.array(
            [finite_median(column) for column in np.stack([p.landmarks for p in profiles]).T]
        ),
        tissue_histograms=tissue_histograms,
        scale=IntensityScale(
            low=float(np.median([p.scale.low for p in profiles])),
            high=float(np.median([p.scale.high for p in profiles])),
        ),
        scan_count=sum(p.scan_count for p in profiles),
        regions=regions,
    )


def finite_median(values: Iterable[float]) -> float:
    """Median of the finite values; NaN if there is none.

    >>> finite_median([1.0, float("nan"), 3.0])
    2.0
    """
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else float("nan")
