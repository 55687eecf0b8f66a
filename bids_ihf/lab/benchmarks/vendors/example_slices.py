"""What the figures of the vendor benchmark show of a case: one slice, and intensity histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.vendors.methods import (
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
    NO_HARMONIZATION,
)
from bids_ihf.qc.similarity import intensity_range, to_unit_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.vendors.cases import Case
    from bids_ihf.lab.benchmarks.vendors.methods import Images
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices

FIGURE_TARGET = "Siemens"
"""Target vendor of the figures."""

FIGURE_SLICE_MM = 18
"""Axial template coordinate of the slice, through the lateral ventricles."""

TRUE_SCAN = "truth"
AS_SCANNED = "as scanned"
RANGE_SCALED = "as scanned, each in its own range"

LOG_INTENSITY_EDGES = np.linspace(1.0, 4.5, 176)
"""Edges of the histogram bins of AS_SCANNED, log10 of the intensity."""

SCALED_INTENSITY_EDGES = np.linspace(-0.1, 1.3, 176)
"""Edges of the other histograms' bins, in units of the range between two percentiles."""


@frozen(eq=False)
class CasePanel:
    """One case in the figures.

    Attributes
    ----------
    subject, modality, source, scanner
        The scan that is harmonized.
    counts
        Histograms of the brain voxels, by AS_SCANNED, RANGE_SCALED and method.
    images
        Slices (X, Y), 0 to 1 in the range of the true scan's percentiles; the source scan in that
        of its own.
    brain
        Mask of the slice (X, Y).
    """

    subject: str
    modality: str
    source: str
    scanner: str
    counts: dict[str, NDArray[np.int64]]
    images: dict[str, NDArray[np.float32]]
    brain: NDArray[np.bool_]


def render_case(
    case: Case,
    images: Images,
    truth: Slices,
    subject: str,
    modality: str,
    comparators: Sequence[str] = (),
) -> CasePanel:
    """The panel of a case from its images (X, Y, S) by method; ``comparators`` are shown, too."""
    source_range = intensity_range(images[NO_HARMONIZATION], truth.mask)
    true_range = intensity_range(truth.data, truth.mask)
    brain = images[NO_HARMONIZATION][truth.mask]
    counts = {
        AS_SCANNED: _histogram(np.log10(np.maximum(brain, 1e-3)), LOG_INTENSITY_EDGES),
        RANGE_SCALED: _histogram(
            (brain - source_range[0]) / (source_range[1] - source_range[0]), SCALED_INTENSITY_EDGES
        ),
    }
    index = int(np.abs(truth.z - FIGURE_SLICE_MM).argmin())
    slices = {
        NO_HARMONIZATION: to_unit_range(images[NO_HARMONIZATION][:, :, index], *source_range),
        TRUE_SCAN: to_unit_range(truth.data[:, :, index], *true_range),
    }
    for method in (HISTOGRAM_MATCHING, *comparators, IHF_HARMONY):
        if method in images:
            scaled = (images[method] - true_range[0]) / (true_range[1] - true_range[0])
            counts[method] = _histogram(scaled[truth.mask], SCALED_INTENSITY_EDGES)
            slices[method] = np.clip(scaled[:, :, index], 0, 1)
    return CasePanel(
        subject, modality, case.source, case.scanner, counts,
        images={name: values.astype(np.float32) for name, values in slices.items()},
        brain=truth.mask[:, :, index],
    )  # fmt: skip


def _histogram(values: NDArray[np.floating], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.histogram(values, bins=edges)[0].astype(np.int64)
