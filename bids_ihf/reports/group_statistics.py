"""Statistics of the group: images by scanner, embedding space, classification, variance."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.io.tsv import MISSING_VALUE
from bids_ihf.qc.readout import ReadOut, read_out
from bids_ihf.reports.qc_data import BEFORE_AFTER, read_qc_data

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.bids.harmonized_images import HarmonizedImage
    from bids_ihf.reports.qc_data import QCData

MAX_COMPONENTS = 30
"""Principal components that embeddings are reduced to."""
MAX_FOLDS = 5
MIN_IMAGES_PER_SCANNER = 4
TISSUE_MEASURES = {
    "contrast": "Grey-to-white-matter contrast",
    "grey_ml": "Grey matter volume",
    "white_ml": "White matter volume",
    "csf_ml": "CSF volume",
}
"""Measures whose variance between scanners is reported, by the stem of their columns."""


@frozen(eq=False)
class GroupImage:
    """An image of the group with its scanner, and its QC data if there are any."""

    image: HarmonizedImage
    scanner: str
    qc_data: QCData | None


@frozen
class ScannerSeparation:
    """How well scanners of left-out participants are classified, before and after."""

    before: ReadOut
    after: ReadOut
    images: int
    participants: int

    @property
    def folds(self) -> int:
        """Number of cross-validation folds."""
        return min(MAX_FOLDS, self.participants)


@frozen
class BetweenScannerVariance:
    """Fraction of a measure's variance that lies between scanners (eta squared), and its
    expectation by chance."""

    measure: str
    before: float
    after: float
    chance: float
    images: int


def scanner_name(image: HarmonizedImage) -> str:
    """Return manufacturer, model and serial number, as far as the sidecar has them."""
    vendor = image.text("source_vendor", "SourceVendor")
    fields = [image.sidecar.get(key) for key in ("ManufacturersModelName", "DeviceSerialNumber")]
    texts = [vendor, *(str(field) for field in fields if isinstance(field, str | int))]
    return " ".join(" ".join(texts).split()) or MISSING_VALUE


def load_group(out_dir: Path, images: Sequence[HarmonizedImage]) -> list[GroupImage]:
    """Read the QC data of each image; no image is loaded."""
    return [
        GroupImage(image, scanner_name(image), read_qc_data(out_dir, image)) for image in images
    ]


def stack_embeddings(group: Sequence[GroupImage]) -> tuple[list[GroupImage], NDArray[np.float64]]:
    """Return the images with embeddings, and these: (2, N, E), before and after.

    Embeddings of a length other than the most frequent one come from another encoder and are
    left out.
    """
    lengths = [len(member.qc_data.embeddings["before"]) for member in group if member.qc_data]
    if not lengths:
        return [], np.zeros((2, 0, 0))
    length = max(set(lengths), key=lambda size: (lengths.count(size), size))
    members = [
        member
        for member in group
        if member.qc_data and {len(row) for row in member.qc_data.embeddings.values()} == {length}
    ]
    rows = [
        [member.qc_data.embeddings[stage] for member in members if member.qc_data]
        for stage in BEFORE_AFTER
    ]
    return members, np.asarray(rows, dtype=np.float64)


def principal_components(
    data: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reduce embeddings (S, N, E) to the principal components of all rows together.

    Features are standardized over all rows.  The sign of a component is that of its largest
    loading, so that the same images always give the same picture.

    Returns
    -------
    tuple
        Scores (S, N, A) and the fraction of the variance that each component explains (A,).
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    rows = data.reshape(-1, data.shape[-1])
    varying = rows[:, rows.std(axis=0) > 1e-9]
    if not varying.size:
        return np.zeros((*data.shape[:2], 1)), np.ones(1)
    standardized = StandardScaler().fit_transform(varying)
    rank = min(len(standardized) - 1, standardized.shape[1])
    pca = PCA(min(MAX_COMPONENTS, rank), svd_solver="full")
    scores = pca.fit_transform(standardized)
    return scores.reshape(*data.shape[:2], -1), np.asarray(pca.explained_variance_ratio_)


def scanner_separation(group: Sequence[GroupImage]) -> ScannerSeparation | None:
    """Classify scanners by the embeddings; None if there are too few scanners or participants.

    Linear discriminant analysis on principal components, which are found without scanner labels;
    participants are assigned to folds, each left out in turn.
    """
    members, data = stack_embeddings(group)
    eligible = _frequent([member.scanner for member in members])
    members = [member for member, keep in zip(members, eligible, strict=True) if keep]
    participants = sorted({member.image.subject for member in members})
    scanners = np.array([member.scanner for member in members])
    if len(set(scanners.tolist())) < 2 or len(participants) < 2:
        return None
    scores, _ = principal_components(data[:, np.array(eligible)])
    fold_of = {subject: number % MAX_FOLDS for number, subject in enumerate(participants)}
    folds = np.array([fold_of[member.image.subject] for member in members])
    before, after = (read_out(rows, scanners, folds, standardize=False) for rows in scores)
    return ScannerSeparation(before, after, len(members), len(participants))


def between_scanner_variance(group: Sequence[GroupImage]) -> list[BetweenScannerVariance]:
    """One-way analysis of variance of each of `TISSUE_MEASURES` over scanners."""
    results = []
    for measure in TISSUE_MEASURES:
        rows = [
            (member.scanner, before, after)
            for member in group
            if (before := member.image.number(f"{measure}_before")) is not None
            and (after := member.image.number(f"{measure}_after")) is not None
        ]
        eligible = _frequent([scanner for scanner, _, _ in rows])
        rows = [row for row, keep in zip(rows, eligible, strict=True) if keep]
        scanners = np.array([scanner for scanner, _, _ in rows])
        scanner_count = len(set(scanners.tolist()))
        if scanner_count < 2:
            continue
        before, after = (
            eta_squared(np.array([row[column] for row in rows]), scanners) for column in (1, 2)
        )
        chance = (scanner_count - 1) / (len(rows) - 1)
        results.append(BetweenScannerVariance(measure, before, after, chance, len(rows)))
    return results


def eta_squared(values: NDArray[np.float64], groups: NDArray[np.str_]) -> float:
    """Return the fraction of the sum of squares of values (N,) that lies between groups (N,).

    >>> eta_squared(np.array([1.0, 1.0, 3.0, 3.0]), np.array(["a", "a", "b", "b"]))
    1.0
    """
    total = float(np.square(values - values.mean()).sum())
    if total <= 0:
        return 0.0
    members = [values[groups == name] for name in np.unique(groups)]
    within = sum(float(np.square(row - row.mean()).sum()) for row in members)
    return 1 - within / total


def _frequent(names: Sequence[str]) -> list[bool]:
    """Whether each name occurs at least `MIN_IMAGES_PER_SCANNER` times."""
    counts = Counter(names)
    return [counts[name] >= MIN_IMAGES_PER_SCANNER for name in names]
