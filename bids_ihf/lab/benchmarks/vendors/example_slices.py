"""What the benchmark's figures show of a case: a slice of each image, and intensity counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.metrics.similarity import intensity_range, to_unit_range
from bids_ihf.lab.benchmarks.vendors.methods import MATCHED, NONE, SHIPPED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.vendors.cases import Case
    from bids_ihf.lab.benchmarks.vendors.methods import Images
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices

SHOWN = "Siemens"
"""The target of the figures."""

HEIGHT = 18
"""Axial template coordinate of the slice that is shown, mm: through the ventricles."""

TRUTH = "truth"
UNITS = "as scanned"
OWN_RANGE = "as scanned, each in its own range"

UNIT_EDGES = np.linspace(1.0, 4.5, 176)
"""Bins of the logarithm to base ten of intensities as scanned."""

EDGES = np.linspace(-0.1, 1.3, 176)
"""Bins of intensities in a range of percentiles."""


@frozen(eq=False)
class Look:
    """One case.

    ``counts`` are of brain voxels in the bins of UNIT_EDGES (UNITS) or EDGES (the rest).
    ``pictures`` (X, Y) are in the range of the truth's percentiles, the source's in that of its
    own, 0 to 1; ``brain`` (X, Y) is their mask.
    """

    person: str
    modality: str
    source: str
    scanner: str
    counts: dict[str, NDArray[np.int64]]
    pictures: dict[str, NDArray[np.float32]]
    brain: NDArray[np.bool_]


def look_at(case: Case, images: Images, truth: Slices, person: str, modality: str) -> Look:
    """What the figures need of a case's images (X, Y, S)."""
    own = intensity_range(images[NONE], truth.mask)
    common = intensity_range(truth.data, truth.mask)
    inside = images[NONE][truth.mask]
    counts = {UNITS: _count(np.log10(np.maximum(inside, 1e-3)), UNIT_EDGES)}
    counts[OWN_RANGE] = _count((inside - own[0]) / (own[1] - own[0]), EDGES)
    at = int(np.abs(truth.z - HEIGHT).argmin())
    pictures = {
        NONE: to_unit_range(images[NONE][:, :, at], *own),
        TRUTH: to_unit_range(truth.data[:, :, at], *common),
    }
    for method in (MATCHED, SHIPPED):
        if method in images:
            scaled = (images[method] - common[0]) / (common[1] - common[0])
            counts[method] = _count(scaled[truth.mask], EDGES)
            pictures[method] = np.clip(scaled[:, :, at], 0, 1)
    small = {name: picture.astype(np.float32) for name, picture in pictures.items()}
    brain = truth.mask[:, :, at]
    return Look(person, modality, case.source, case.scanner, counts, small, brain)


def _count(values: NDArray[np.floating], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.histogram(values, bins=edges)[0].astype(np.int64)
