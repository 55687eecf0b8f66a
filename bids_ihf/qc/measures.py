"""Measures of one harmonized image, from the histograms and statistics that were made on the way.

Nothing is computed from voxels here, so they cost next to nothing.  Intensities are shares of the
image's bright end: 0 is no signal, 1 the 99.9th percentile of the brain, in the result that of the
target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.targets.intensity import HISTOGRAM_BINS, HISTOGRAM_RANGE
from bids_ihf.targets.profile import POSITION_BIN_MM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.anat.harmonize import QCStatistics

    Histogram = NDArray[np.float64]

TISSUE_NAMES = ("grey", "white", "csf")
"""Rows of the histograms of tissues."""

GREY, WHITE = 0, 1

MIN_TISSUE_VOXELS = 500.0
"""Voxels of a tissue below which nothing is said of it."""

BIN_WIDTH = (HISTOGRAM_RANGE[1] - HISTOGRAM_RANGE[0]) / HISTOGRAM_BINS / 2
"""Width of a bin, as a share of the bright end."""


def image_measures(evidence: QCStatistics) -> dict[str, float]:
    """The measures by column of the scans table; NaN where a tissue is not seen."""
    before, after = evidence.before.tissue_histograms, evidence.after.tissue_histograms
    target = evidence.target.tissue_histograms
    found = {"change_share": evidence.change / 2}
    for row, name in enumerate(TISSUE_NAMES):
        found[f"wasserstein_{name}_before"] = wasserstein(before[row], target[row])
        found[f"wasserstein_{name}_after"] = wasserstein(after[row], target[row])
    for side, tissues in (("before", before), ("after", after)):
        found[f"snr_{side}"] = snr(tissues)
        found[f"cnr_{side}"] = cnr(tissues)
        found[f"contrast_{side}"] = contrast(tissues)
        for row, name in enumerate(TISSUE_NAMES):
            found[f"{name}_ml_{side}"] = volume_ml(tissues[row])
    return found


def centres() -> Histogram:
    """Intensity (LEVELS,) in the middle of each bin, as a share of the bright end."""
    return np.asarray(
        HISTOGRAM_RANGE[0] / 2 + 0.5 + BIN_WIDTH * (np.arange(HISTOGRAM_BINS) + 0.5),
        dtype=np.float64,
    )


def wasserstein(one: Histogram, other: Histogram) -> float:
    """Area between two cumulative distributions (LEVELS,), a share of the bright end.

    This is how far intensity must be moved, on average, to turn one tissue's into the other's;
    NaN where either histogram is empty.
    """
    if one.sum() <= 0 or other.sum() <= 0:
        return float("nan")
    apart = np.cumsum(one / one.sum() - other / other.sum())
    return float(np.abs(apart).sum() * BIN_WIDTH)


def snr(tissues: Histogram) -> float:
    """Median of white matter over its standard deviation, of tissues (3, LEVELS).

    As MRIQC's (Esteban et al. 2017, PLOS ONE 12:e0184661), which takes one tissue's spread for
    noise: what is left of bias and of partial volume counts too.
    """
    white = tissues[WHITE]
    return median(white) / spread(white) if _seen(white) else float("nan")


def cnr(tissues: Histogram) -> float:
    """White less grey matter over the spread of both, of tissues (3, LEVELS).

    As Magnotta & Friedman (2006, J Digit Imaging 19:140) but for the air's noise, which stripped
    images lack.
    """
    grey, white = tissues[GREY], tissues[WHITE]
    if not (_seen(grey) and _seen(white)):
        return float("nan")
    return abs(median(white) - median(grey)) / float(np.hypot(spread(white), spread(grey)))


def contrast(tissues: Histogram) -> float:
    """Median of grey matter over that of white matter, of tissues (3, LEVELS)."""
    grey, white = tissues[GREY], tissues[WHITE]
    if not (_seen(grey) and _seen(white)) or median(white) <= 0:
        return float("nan")
    return median(grey) / median(white)


def volume_ml(tissue: Histogram) -> float:
    """Volume (ml) of a tissue (LEVELS,), counted in one slice at every slice position."""
    return float(tissue.sum()) * POSITION_BIN_MM / 1000 if _seen(tissue) else float("nan")


def median(counts: Histogram) -> float:
    """Median of a histogram (LEVELS,), a share of the bright end; not empty."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    edges = HISTOGRAM_RANGE[0] / 2 + 0.5 + BIN_WIDTH * np.arange(HISTOGRAM_BINS + 1)
    return float(np.interp(cumulative[-1] / 2, cumulative, edges))


def spread(counts: Histogram) -> float:
    """Standard deviation of a histogram (LEVELS,), no less than a bin is wide."""
    weights, level = counts / counts.sum(), centres()
    mean = float(weights @ level)
    return max(float(np.sqrt(weights @ np.square(level - mean))), BIN_WIDTH)


def _seen(tissue: Histogram) -> bool:
    return bool(tissue.sum() >= MIN_TISSUE_VOXELS)
