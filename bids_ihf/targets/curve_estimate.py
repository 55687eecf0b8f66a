"""The intensity curve between two scanners, estimated from the quantiles of few subjects.

Quantiles of two brains differ by what the scanners do and by what the subjects are.  The model is

    y(p) = a + b x(p) + g(x(p)) + e(p),

where x and y are the quantiles of source and target at probability p.  The scanners make the line
and the deviation g from it, a Gaussian process of standard deviation NONLINEARITY_SD and length
NONLINEARITY_LENGTH.  The subjects make e: if each one's voxels are a draw from a Dirichlet process
about the distribution that the scanner shows of all, of concentration SUBJECT_CONCENTRATION, then
their distribution function varies like a Brownian bridge (Ferguson 1973, Annals of Statistics
1:209), and quantiles by its covariance min(p, p') - p p' times dy/dp dy/dp' over the
concentration.  It is large where voxels are few and subjects differ, as at the bright end of a
T2w scan.  The curve is the best linear unbiased prediction of a + b x + g (Rasmussen & Williams
2006, Gaussian Processes for Machine Learning, section 2.7).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bids_ihf.targets.intensity import Counts, IntensityCurve, histogram_quantiles

Quantiles = NDArray[np.float64]

CURVE_QUANTILES = 65
"""Number of quantiles from which a curve is estimated."""

TAIL_FRACTION = 0.005
"""Fraction of voxels beyond the first and last quantile, where the curve is extrapolated."""

SUBJECT_CONCENTRATION = 50.0
"""Independent voxels to which a subject's brain is equivalent as a sample of the scanner's
intensities.  Errors on traveling subjects and simulated ones are flat within 3 %
between 30 and 100."""

NONLINEARITY_SD = 0.2
"""Standard deviation of the deviation of a curve between two scanners from a line, network
units: the most likely of 0.05, 0.1, 0.2 and 0.4 for traveling and simulated subjects."""

NONLINEARITY_LENGTH = 0.4
"""Distance of intensities, network units, over which that deviation changes: the most likely
values are 0.2 to 0.5, by contrast."""

QUANTILE_SD = 0.01
"""Standard deviation of a quantile for reasons of its own, as noise and rounding, network
units."""

MAX_RELATIVE_SLOPE = 3.0
"""Largest gain of intensities below the median, relative to the gain at the median."""

MIN_KNOT_DISTANCE = 1e-4
"""Smallest distance of two quantiles; scans of integers repeat some."""


def quantile_curve(source: Counts, target: Counts, subject_variance: float) -> IntensityCurve:
    """The curve from one distribution to another, of which histograms (HISTOGRAM_BINS,) are given.

    ``subject_variance`` is the variance between both that is due to subjects, relative to that of
    a single one: the sum of 1 / n for n subjects behind each.

    Raises
    ------
    ValueError
        The source has one intensity only.
    """
    probabilities = np.linspace(TAIL_FRACTION, 1 - TAIL_FRACTION, CURVE_QUANTILES)
    x, y = (histogram_quantiles(counts, probabilities) for counts in (source, target))
    distinct = np.concatenate([[True], np.diff(x) > MIN_KNOT_DISTANCE])
    if distinct.sum() < 2:
        raise ValueError("the brain is of one intensity")
    x, y, probabilities = x[distinct], y[distinct], probabilities[distinct]
    y = np.maximum.accumulate(predicted_quantiles(x, y, probabilities, subject_variance))
    # Dark voxels in the mask must not map the darkest intensities to those of the target's CSF.
    median = len(x) // 2
    max_slope = MAX_RELATIVE_SLOPE * max(y[median] + 1.0, 0.0) / max(x[median] + 1.0, 1e-3)
    y = np.where(x < x[median], np.minimum(y, max_slope * (x + 1.0) - 1.0), y)
    if x[0] > -1.0:
        x, y = np.concatenate([[-1.0], x]), np.concatenate([[min(-1.0, y[0])], y])
    return IntensityCurve(x, y)


def predicted_quantiles(
    x: Quantiles, y: Quantiles, probabilities: Quantiles, subject_variance: float
) -> Quantiles:
    """Prediction (N,) of the scanners' part of the target's quantiles y at the source's x."""
    slope = np.gradient(y, probabilities)
    bridge = np.minimum.outer(probabilities, probabilities)
    bridge -= np.outer(probabilities, probabilities)
    noise = subject_variance / SUBJECT_CONCENTRATION * bridge * np.outer(slope, slope)
    noise += QUANTILE_SD**2 * np.eye(len(x))
    distance = np.subtract.outer(x, x) / NONLINEARITY_LENGTH
    signal = NONLINEARITY_SD**2 * np.exp(-0.5 * np.square(distance))
    line = np.stack([np.ones_like(x), x], axis=1)
    weighted = np.linalg.solve(signal + noise, np.column_stack([line, y]))
    coefficients = np.linalg.solve(line.T @ weighted[:, :2], line.T @ weighted[:, 2])
    return np.asarray(
        line @ coefficients + signal @ (weighted[:, 2] - weighted[:, :2] @ coefficients)
    )
