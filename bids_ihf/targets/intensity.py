"""Intensity scales, histograms, and monotone curves between the intensities of two scans."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

Image = NDArray[np.float32]
Counts = NDArray[np.float64]

HISTOGRAM_BINS = 512
"""Bins of an intensity histogram."""

HISTOGRAM_RANGE = (-1.5, 2.5)
"""Range of the histograms in network units, in which the 0-99.9 percentile range of the brain is
[-1, 1]."""

MAX_UNIT_RATIO = 2.0
"""Largest ratio of the target's intensity range to the image's, either way, at which background
intensities are kept."""


PRIOR_POWER = 4
"""Power of a tissue's fraction or probability by which voxels count for its median: those that
hold more than one tissue count little."""

MAX_FLOAT32_UNIT_RATIO = 100.0
"""Largest ratio of the target's intensity range to the image's at which a change in single
precision restores the original: rounding is 6e-8 of the target's range, 6e-6 of the image's."""


@frozen
class IntensityScale:
    """Affine map between the units of a scan and network units.

    ``low`` becomes -1 and ``high`` becomes 1.  ``low`` is 0 for magnitude images, so that no
    signal stays no signal; ``high`` is the 99.9th percentile in the brain.

    >>> IntensityScale(0.0, 400.0).normalize(np.array([0.0, 200.0, 400.0], np.float32))
    array([-1.,  0.,  1.], dtype=float32)
    """

    low: float
    high: float

    def normalize(self, data: Image) -> Image:
        """Scan units to network units, not clipped."""
        return ((data - self.low) * (2.0 / (self.high - self.low)) - 1.0).astype(np.float32)

    def restore(self, data: Image) -> Image:
        """Network units to scan units."""
        return ((data + 1.0) * ((self.high - self.low) / 2.0) + self.low).astype(np.float32)


def background_gain(unit_ratio: float) -> float:
    """Factor for the background, given the ratio of the target's intensity range to the image's.

    The background is kept while both ranges are similar.  Beside a head that becomes a thousand
    times darker or brighter, its noise would dominate the image or vanish, so it is scaled alike.

    >>> background_gain(1.3), background_gain(0.001)
    (1.0, 0.001)
    """
    return 1.0 if 1 / MAX_UNIT_RATIO < unit_ratio < MAX_UNIT_RATIO else unit_ratio


def change_dtype(unit_ratio: float) -> type[np.floating[Any]]:
    """Precision of a change map, by the ratio of the target's intensity range to the image's."""
    return np.float32 if unit_ratio <= MAX_FLOAT32_UNIT_RATIO else np.float64


def robust_scale(data: Image, mask: NDArray[np.bool_]) -> IntensityScale:
    """Intensity scale of a scan from its brain voxels.

    Raises
    ------
    ValueError
        The mask is empty, or all its voxels have one intensity.
    """
    values = data[mask]
    if values.size == 0:
        raise ValueError("the brain mask is empty")
    low, high = (float(v) for v in np.percentile(values, (0.1, 99.9)))
    low = min(low, 0.0)
    if not high > low:
        raise ValueError("the brain is of one intensity")
    return IntensityScale(low, high)


def histogram(values: Image, weights: NDArray[np.float64] | None = None) -> Counts:
    """Histogram (HISTOGRAM_BINS,) of intensities in network units, optionally weighted; values
    outside HISTOGRAM_RANGE count in the first or last bin."""
    clipped, limits = np.clip(values, *HISTOGRAM_RANGE), HISTOGRAM_RANGE
    counts, _ = np.histogram(clipped, bins=HISTOGRAM_BINS, range=limits, weights=weights)
    return counts.astype(np.float64)


def weighted_median(values: NDArray[np.floating], weights: NDArray[np.floating]) -> float:
    """Median of values (N,) of these weights (N,)."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def histogram_quantiles(counts: Counts, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles, in network units, of a :func:`histogram`."""
    edges = np.linspace(*HISTOGRAM_RANGE, HISTOGRAM_BINS + 1)
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    return np.interp(probabilities * cumulative[-1], cumulative, edges)


@frozen
class IntensityCurve:
    """Monotone, piecewise linear map between the network units of two scans.

    Extrapolation is linear: below the first knot along the line to no signal (-1, -1), above the
    last with the mean slope of the curve.

    >>> curve = IntensityCurve([-0.5, 0.5], [-0.4, 0.4])
    >>> curve(np.array([-1.0, 0.0, 0.5, 1.5], np.float32))
    array([-1. ,  0. ,  0.4,  1.2], dtype=float32)
    """

    input_knots: NDArray[np.float64] = field(converter=np.asarray)
    output_knots: NDArray[np.float64] = field(converter=np.asarray)

    def __call__(self, data: Image) -> Image:
        """Map intensities of any shape."""
        x, y = self.input_knots, self.output_knots
        flat = data.ravel()
        out = np.interp(flat, x, y)
        mean_slope = float((y[-1] - y[0]) / (x[-1] - x[0]))
        low_slope = float(max(y[0] + 1.0, 0.0) / (x[0] + 1.0)) if x[0] > -0.999 else mean_slope
        below, above = flat < x[0], flat > x[-1]
        out[below] = y[0] + (flat[below] - x[0]) * low_slope
        out[above] = y[-1] + (flat[above] - x[-1]) * mean_slope
        return out.reshape(data.shape).astype(np.float32)


def weighted_mean_curve(
    first: IntensityCurve, second: IntensityCurve, weight: float
) -> IntensityCurve:
    """Weighted mean of two curves; ``weight``, 0 to 1, is that of the first."""
    knots = np.union1d(first.input_knots, second.input_knots)
    x = knots[np.concatenate([[True], np.diff(knots) > 1e-4])].astype(np.float32)
    mean = weight * first(x).astype(np.float64) + (1 - weight) * second(x)
    return IntensityCurve(x.astype(np.float64), np.maximum.accumulate(mean))
