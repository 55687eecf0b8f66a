"""Statistics of the group: embedding space, separation of scanners, variance, outliers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.bids.harmonized_images import HarmonizedImage
from bids_ihf.bids.scanners import scanner_label
from bids_ihf.qc.readout import ReadOut, read_out
from bids_ihf.reports.qc_data import BEFORE_AFTER, QCData, read_qc_data

MAX_COMPONENTS = 30
"""Principal components that embeddings are reduced to."""
MAX_FOLDS = 5
"""Parts of the people of whom one after the other is left out by the classifier."""
MIN_IMAGES_PER_SCANNER = 4
"""Images of a scanner from which on it takes part in the separation of scanners."""
TISSUE_MEASURES = ("contrast", "grey_ml", "white_ml", "csf_ml")
"""Measures whose variance between scanners is reported, less the stage of their columns."""
OUTLIER_MEASURES = (
    *("distance_after", "wasserstein_grey_after", "wasserstein_white_after"),
    *("wasserstein_csf_after", "change_rms", "snr_after", "cnr_after", "contrast_after"),
    *("mask_volume_ml", "alignment_similarity", "out_of_range_score"),
)
MAX_ROBUST_Z = 3.5
"""Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers."""
MIN_OUTLIER_IMAGES = 5
"""Number of images below which a median is no reference."""


@frozen(eq=False)
class GroupImage:
    """An image of the group with its scanner, and its QC data if there are any."""

    image: HarmonizedImage
    scanner: str
    qc_data: QCData | None

    @property
    def distances(self) -> tuple[float, float] | None:
        """Distance to the target before and after harmonization."""
        before, after = (self.image.number(f"distance_{stage}") for stage in BEFORE_AFTER)
        return None if before is None or after is None else (before, after)


@frozen
class ScannerSeparation:
    """How well the scanners of left-out participants are classified, before and after."""

    before: ReadOut
    after: ReadOut
    images: int
    participants: int
    folds: int


@frozen
class BetweenScannerVariance:
    """Fraction of a measure's variance between scanners (eta squared), and that by chance."""

    measure: str
    before: float
    after: float
    chance: float
    images: int


@frozen
class Outlier:
    """A measure of an image, far from the median of its group in units of robust z-scores."""

    image: HarmonizedImage
    measure: str
    value: float
    robust_z: float


def scanner_name(image: HarmonizedImage) -> str:
    """Return the scanner as far as the sidecar tells, else its vendor."""
    vendor = image.text("source_vendor", "SourceVendor")
    return scanner_label(image.sidecar, vendor) or vendor


def load_group(out_dir: Path, images: Sequence[HarmonizedImage]) -> list[GroupImage]:
    """Read the QC data of each image; no image is loaded."""
    return [
        GroupImage(image, scanner_name(image), read_qc_data(out_dir, image)) for image in images
    ]


def stack_embeddings(group: Sequence[GroupImage]) -> tuple[list[GroupImage], NDArray[np.float64]]:
    """Return the images with embeddings, and these: (2, N, E), before and after.

    Those of another length than most come from another encoder and are left out.
    """
    rows = [
        (member, [member.qc_data.embeddings[stage] for stage in BEFORE_AFTER])
        for member in group
        if member.qc_data
    ]
    lengths = Counter(len(before) for _, (before, _) in rows)
    usual = max(lengths, key=lambda length: (lengths[length], length), default=0)
    rows = [(member, pair) for member, pair in rows if {len(row) for row in pair} == {usual}]
    data = np.array([pair for _, pair in rows], dtype=np.float64).reshape(len(rows), 2, usual)
    return [member for member, _ in rows], data.swapaxes(0, 1)


def principal_components(
    data: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reduce embeddings (S, N, E) to the principal components of all standardized rows together.

    Returns scores (S, N, A) and the fraction of the variance that each component explains (A,).
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    rows = data.reshape(-1, data.shape[-1])
    varying = rows[:, rows.std(axis=0) > 1e-9]
    if not varying.size:
        return np.zeros((*data.shape[:2], 1)), np.ones(1)
    rank = min(len(varying) - 1, varying.shape[1])
    pca = PCA(min(MAX_COMPONENTS, rank), svd_solver="covariance_eigh")
    scores = pca.fit_transform(StandardScaler().fit_transform(varying))
    return scores.reshape(*data.shape[:2], -1), np.asarray(pca.explained_variance_ratio_)


def scanner_separation(group: Sequence[GroupImage]) -> ScannerSeparation | None:
    """Classify scanners by principal components of the embeddings, left-out participants in turn;
    None if there are too few scanners or participants."""
    members, data = stack_embeddings(group)
    eligible = _is_frequent([member.scanner for member in members])
    scanners = np.array([member.scanner for member in members])[eligible]
    subjects = np.array([member.image.subject for member in members])[eligible]
    participants, participant = np.unique(subjects, return_inverse=True)
    if len(np.unique(scanners)) < 2 or len(participants) < 2:
        return None
    before, after = (
        read_out(scores, scanners, participant % MAX_FOLDS, people=participant, standardize=False)
        for scores in principal_components(data[:, eligible])[0]
    )
    folds = min(MAX_FOLDS, len(participants))
    return ScannerSeparation(before, after, len(scanners), len(participants), folds)


def between_scanner_variance(group: Sequence[GroupImage]) -> list[BetweenScannerVariance]:
    """One-way analysis of variance of each of `TISSUE_MEASURES` over scanners."""
    results = []
    for measure in TISSUE_MEASURES:
        columns = [f"{measure}_{stage}" for stage in BEFORE_AFTER]
        rows = [
            (member.scanner, values)
            for member in group
            if None not in (values := [member.image.number(column) for column in columns])
        ]
        eligible = _is_frequent([scanner for scanner, _ in rows])
        scanners = np.array([scanner for scanner, _ in rows])[eligible]
        scanner_count = len(np.unique(scanners))
        if scanner_count < 2:
            continue
        columns_of = np.array([values for _, values in rows], dtype=np.float64)[eligible].T
        before, after = (eta_squared(measured, scanners) for measured in columns_of)
        chance = (scanner_count - 1) / (len(scanners) - 1)
        results.append(BetweenScannerVariance(measure, before, after, chance, len(scanners)))
    return results


def eta_squared(values: NDArray[np.float64], groups: NDArray[np.str_]) -> float:
    """Return the fraction of the sum of squares of values (N,) that lies between groups (N,).

    >>> eta_squared(np.array([1.0, 1.0, 3.0, 3.0]), np.array(["a", "a", "b", "b"]))
    1.0
    """
    total = float(np.square(values - values.mean()).sum())
    members = [values[groups == name] for name in np.unique(groups)]
    within = sum(float(np.square(row - row.mean()).sum()) for row in members)
    return 1 - within / total if total > 0 else 0.0


def _is_frequent(names: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each name occurs at least `MIN_IMAGES_PER_SCANNER` times."""
    counts = Counter(names)
    return np.array([counts[name] >= MIN_IMAGES_PER_SCANNER for name in names], dtype=bool)


def robust_z_scores(values: Sequence[float]) -> list[float]:
    """Return 0.6745 (x - median) / MAD of each value (Iglewicz and Hoaglin 1993).

    All scores are 0 if the MAD, the median absolute deviation from the median, is 0.
    """
    if not values:
        return []
    data = np.asarray(values, dtype=np.float64)
    deviation = data - np.median(data)
    mad = float(np.median(np.abs(deviation)))
    if mad <= 1e-12 * max(1.0, float(np.abs(data).max())):
        return [0.0] * data.size
    return [float(score) for score in 0.6745 * deviation / mad]


def find_outliers(images: Sequence[HarmonizedImage]) -> list[Outlier]:
    """Return the measures beyond `MAX_ROBUST_Z`, the farthest first."""
    outliers = []
    for measure in OUTLIER_MEASURES:
        values = [(image, image.number(measure)) for image in images]
        measured = [(i, value) for i, value in values if value is not None and np.isfinite(value)]
        scores = robust_z_scores([value for _, value in measured])
        if len(measured) >= MIN_OUTLIER_IMAGES:
            outliers += [
                Outlier(image, measure, value, score)
                for (image, value), score in zip(measured, scores, strict=True)
                if abs(score) > MAX_ROBUST_Z
            ]
    return sorted(outliers, key=lambda outlier: -abs(outlier.robust_z))
