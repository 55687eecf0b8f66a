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
T2w scan.  That f = a + b x + g is straight between tissues that share voxels is one more
observation at each of MIXED_FRACTIONS, f(w u + (1 - w) v) - w f(u) - (1 - w) f(v) = 0, with an
error of its own (:mod:`~bids_ihf.targets.partial_volume`).  The curve is the best linear unbiased
prediction of a + b x + g (Rasmussen & Williams 2006, Gaussian Processes for Machine Learning,
section 2.7).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from bids_ihf.targets.intensity import Counts, IntensityCurve, histogram_quantiles
from bids_ihf.targets.partial_volume import TissuePair

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

MIXED_FRACTIONS = (0.25, 0.5, 0.75)
"""Fractions of the first of two tissues in the voxels that a curve is held straight at."""

MAX_RELATIVE_SLOPE = 3.0
"""Largest gain of intensities below the median, relative to the gain at the median."""

MIN_KNOT_DISTANCE = 1e-4
"""Smallest distance of two quantiles; scans of integers repeat some."""


def quantile_curve(
    source: Counts,
    target: Counts,
    subject_variance: float,
    pairs: Sequence[TissuePair] = (),
) -> IntensityCurve:
    """The curve from one distribution to another, of which histograms (HISTOGRAM_BINS,) are given.

    ``subject_variance`` is the variance between both that is due to subjects, relative to that of
    a single one: the sum of 1 / n for n subjects behind each.  Between the tissues of ``pairs``,
    in the source, the curve is about straight.

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
    y = predicted_quantiles(x, y, probabilities, subject_variance, pairs)
    y = np.maximum.accumulate(y)
    # Dark voxels in the mask must not map the darkest intensities to those of the target's CSF.
    median = len(x) // 2
    max_slope = MAX_RELATIVE_SLOPE * max(y[median] + 1.0, 0.0) / max(x[median] + 1.0, 1e-3)
    y = np.where(x < x[median], np.minimum(y, max_slope * (x + 1.0) - 1.0), y)
    if x[0] > -1.0:
        x, y = np.concatenate([[-1.0], x]), np.concatenate([[min(-1.0, y[0])], y])
    return IntensityCurve(x, y)


def predicted_quantiles(
    x: Quantiles,
    y: Quantiles,
    probabilities: Quantiles,
    subject_variance: float,
    pairs: Sequence[TissuePair] = (),
) -> Quantiles:
    """Prediction (N,) of the scanners' part of the target's quantiles y at the source's x."""
    count = len(x)
    slope = np.gradient(y, probabilities)
    bridge = np.minimum.outer(probabilities, probabilities)
    bridge -= np.outer(probabilities, probabilities)
    noise = subject_variance / SUBJECT_CONCENTRATION * bridge * np.outer(slope, slope)
    noise += QUANTILE_SD**2 * np.eye(count)
    # An observation is a linear combination of the curve at some intensities: at the quantiles
    # the curve itself, and for each mixed voxel how far it lies from the line of its tissues.
    intensities = np.concatenate([x, *(_mixed_intensities(pair) for pair in pairs)])
    observed = block_diag(np.eye(count), *(_from_line() for _ in pairs))
    variances = [np.full(len(MIXED_FRACTIONS), pair.sd**2) for pair in pairs]
    distance = np.subtract.outer(intensities, intensities) / NONLINEARITY_LENGTH
    signal = observed @ (NONLINEARITY_SD**2 * np.exp(-0.5 * np.square(distance))) @ observed.T
    line = observed @ np.stack([np.ones_like(intensities), intensities], axis=1)
    values = np.concatenate([y, np.zeros(len(observed) - count)])
    covariance = signal + block_diag(noise, *map(np.diag, variances))
    weighted = np.linalg.solve(covariance, np.column_stack([line, values]))
    coefficients = np.linalg.solve(line.T @ weighted[:, :2], line.T @ weighted[:, 2])
    residual = weighted[:, 2] - weighted[:, :2] @ coefficients
    return np.asarray((line @ coefficients + signal @ residual)[:count])


def _mixed_intensities(pair: TissuePair) -> Quantiles:
    """Intensities of the two tissues and of the voxels that hold both."""
    first, second = pair.intensities
    mixed = (fraction * first + (1 - fraction) * second for fraction in MIXED_FRACTIONS)
    return np.array([first, second, *mixed])


def _from_line() -> NDArray[np.float64]:
    """Matrix that takes a curve at :func:`_mixed_intensities` to how far it is from straight."""
    fractions = np.array(MIXED_FRACTIONS)
    return np.column_stack([-fractions, fractions - 1, np.eye(len(fractions))])
