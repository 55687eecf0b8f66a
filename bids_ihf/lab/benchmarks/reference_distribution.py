"""The reference distribution of out-of-distribution scores, fitted to simulated scans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bids_ihf.qc.out_of_distribution import ReferenceDistribution, mean_deviation, rms_distances
from bids_ihf.targets.profile import Profile

MIN_SCAN_FRACTION = 0.5
"""Fraction of the reference scans that must cover a slice position for it to count."""


def fit_reference_distribution(
    profiles: Sequence[Profile], subjects: Sequence[str]
) -> tuple[ReferenceDistribution, list[float]]:
    """The reference distribution of the profiles of several subjects, and the score of each among
    those of the other subjects.

    Raises
    ------
    ValueError
        There are fewer than two subjects, or no slice position that most scans cover.
    """
    if len(set(subjects)) < 2:
        raise ValueError("reference scans must be of at least two subjects")
    covered, coverage = np.unique(
        np.concatenate([p.positions for p in profiles]), return_counts=True
    )
    positions = covered[coverage >= MIN_SCAN_FRACTION * len(profiles)]
    if not positions.size:
        raise ValueError("the scans have no slice position in common")
    sums = np.zeros((len(positions), profiles[0].embeddings.shape[1]))
    counts = np.zeros(len(positions))
    for profile in profiles:
        shared = np.isin(profile.positions, positions)
        rows = np.searchsorted(positions, profile.positions[shared])
        sums[rows] += profile.embeddings[shared]
        counts[rows] += 1
    means = np.asarray(sums / counts[:, None], np.float32)
    features = np.stack([mean_deviation(profile, positions, means) for profile in profiles])
    if np.isnan(features).any():
        raise ValueError("a scan has no slice position in common with the others")
    scale = np.maximum(features.std(axis=0), 1e-3 * features.std() + 1e-9).astype(np.float32)
    scans = features / scale
    distances = rms_distances(scans, scans)
    names = np.asarray(subjects)
    distances[names[:, None] == names[None]] = np.inf
    nearest = distances.min(axis=1)
    unit = float(nearest.max())
    return ReferenceDistribution(positions, means, scale, scans, unit), (nearest / unit).tolist()
