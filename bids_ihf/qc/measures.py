"""Measures of one harmonized image, from the histograms and statistics of its harmonization.

Nothing is computed from voxels, so they cost next to nothing.  Intensities are fractions of the
99.9th percentile of the brain, 0 being no signal; for the harmonized image, of the target's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bids_ihf.targets.intensity import HISTOGRAM_BINS, HISTOGRAM_RANGE
from bids_ihf.targets.regional import POSITION_MM

if TYPE_CHECKING:
    from bids_ihf.anat.qc_statistics import QCStatistics

Histogram = NDArray[np.float64]

TISSUE_NAMES = ("grey", "white", "csf")
"""Rows of tissue histograms."""

GREY_MATTER, WHITE_MATTER = 0, 1
"""Row indices of tissue histograms."""

MIN_TISSUE_VOXELS = 500.0
"""Voxels that a tissue needs for a measure."""

BIN_WIDTH = (HISTOGRAM_RANGE[1] - HISTOGRAM_RANGE[0]) / HISTOGRAM_BINS / 2
"""Width of a histogram bin, as a fraction of the 99.9th percentile."""

LOWEST_EDGE = HISTOGRAM_RANGE[0] / 2 + 0.5
"""Lower edge of the first bin, in the same units."""


def image_measures(statistics: QCStatistics) -> dict[str, float]:
    """The measures by column of the scans table; NaN where a tissue is missing."""
    before, after = statistics.before.tissue_histograms, statistics.after.tissue_histograms
    target = statistics.target.tissue_histograms
    measures = {"change_share": statistics.change / 2}
    for row, name in enumerate(TISSUE_NAMES):
        measures[f"wasserstein_{name}_before"] = wasserstein(before[row], target[row])
        measures[f"wasserstein_{name}_after"] = wasserstein(after[row], target[row])
    for time, tissues in (("before", before), ("after", after)):
        measures[f"snr_{time}"] = snr(tissues)
        measures[f"cnr_{time}"] = cnr(tissues)
        measures[f"contrast_{time}"] = contrast(tissues)
        for row, name in enumerate(TISSUE_NAMES):
            measures[f"{name}_ml_{time}"] = volume_ml(tissues[row])
    return measures


def wasserstein(first: Histogram, second: Histogram) -> float:
    """Wasserstein distance of two histograms (HISTOGRAM_BINS,): the area between their cumulative
    distributions, as a fraction of the 99.9th percentile; NaN where one is empty.

    >>> first, second = np.zeros(HISTOGRAM_BINS), np.zeros(HISTOGRAM_BINS)
    >>> first[100], second[356] = 5, 7
    >>> wasserstein(first, second)
    1.0
    """
    if first.sum() <= 0 or second.sum() <= 0:
        return float("nan")
    difference = np.cumsum(first / first.sum() - second / second.sum())
    return float(np.abs(difference).sum() * BIN_WIDTH)


def snr(tissues: Histogram) -> float:
    """Signal-to-noise ratio: median of white matter over its standard deviation, from tissue
    histograms (3, HISTOGRAM_BINS).

    As MRIQC's (Esteban et al. 2017, PLOS ONE 12:e0184661), which takes the spread within a tissue
    for noise; it includes residual bias and partial volume.
    """
    white = tissues[WHITE_MATTER]
    return median(white) / spread(white) if _sufficient(white) else float("nan")


def cnr(tissues: Histogram) -> float:
    """Contrast-to-noise ratio: white minus grey matter over the spread of both, from tissue
    histograms (3, HISTOGRAM_BINS).

    As Magnotta & Friedman (2006, J Digit Imaging 19:140), without the noise of the background,
    which skull-stripped images lack.
    """
    grey, white = tissues[GREY_MATTER], tissues[WHITE_MATTER]
    if not (_sufficient(grey) and _sufficient(white)):
        return float("nan")
    return abs(median(white) - median(grey)) / float(np.hypot(spread(white), spread(grey)))


def contrast(tissues: Histogram) -> float:
    """Median of grey over that of white matter, from tissue histograms (3, HISTOGRAM_BINS)."""
    grey, white = tissues[GREY_MATTER], tissues[WHITE_MATTER]
    if not (_sufficient(grey) and _sufficient(white)) or median(white) <= 0:
        return float("nan")
    return median(grey) / median(white)


def volume_ml(tissue: Histogram) -> float:
    """Volume (mL) of a tissue (HISTOGRAM_BINS,), counted in one slice at every slice position."""
    return float(tissue.sum()) * POSITION_MM / 1000 if _sufficient(tissue) else float("nan")


def median(counts: Histogram) -> float:
    """Median of a histogram (HISTOGRAM_BINS,) that is not empty."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    edges = LOWEST_EDGE + BIN_WIDTH * np.arange(HISTOGRAM_BINS + 1)
    return float(np.interp(cumulative[-1] / 2, cumulative, edges))


def spread(counts: Histogram) -> float:
    """Standard deviation of a histogram (HISTOGRAM_BINS,), at least the width of a bin."""
    weights = counts / counts.sum()
    centres = LOWEST_EDGE + BIN_WIDTH * (np.arange(HISTOGRAM_BINS) + 0.5)
    mean = float(weights @ centres)
    return max(float(np.sqrt(weights @ np.square(centres - mean))), BIN_WIDTH)


def _sufficient(tissue: Histogram) -> bool:
    return bool(tissue.sum() >= MIN_TISSUE_VOXELS)
