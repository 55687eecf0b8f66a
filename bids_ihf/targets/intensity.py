"""Intensity scales and the monotone curve that first matches a scan to its target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

HISTOGRAM_BINS = 512
"""Levels of the histograms that stand for a scan's intensities."""

CURVE_QUANTILES = 65
"""Quantiles the curve goes through."""

MIN_LANDMARK_GAP = 0.02
"""Least distance of two landmarks, network units."""

MAX_RELATIVE_SLOPE = 3.0
"""Most that the curve may brighten what is darker than the middle, over what it does to that."""

TAIL_FRACTION = 0.005
"""Share of voxels beyond the first and last landmark, where the curve goes on straight."""

MAX_UNIT_RATIO = 2.0
"""Units of an image and its target that differ by less than this factor count as like."""

HISTOGRAM_RANGE = (-1.5, 2.5)
"""Span of the histograms in network units, where the brain's 0-99.9 percentile range is [-1,
1]."""


@frozen
class IntensityScale:
    """Affine map between a scan's own units and network units.

    ``low`` becomes -1 and ``high`` becomes 1.  ``low`` is 0 for magnitude images, so that no
    signal stays no signal; ``high`` is the 99.9th percentile inside the brain.
    """

    low: float
    high: float

    def normalize(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Own units to network units, not clipped."""
        return ((data - self.low) * (2.0 / (self.high - self.low)) - 1.0).astype(np.float32)

    def restore(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Network units to own units."""
        return ((data + 1.0) * ((self.high - self.low) / 2.0) + self.low).astype(np.float32)


def background_gain(ratio: float) -> float:
    """Factor for the air, given the ratio of the target's units to the image's: 1 where they are
    alike, else that ratio.

    Air keeps its numbers if it can; left so beside a head a thousand times darker or brighter, its
    noise would drown the head or vanish.
    """
    return 1.0 if 1 / MAX_UNIT_RATIO < ratio < MAX_UNIT_RATIO else ratio


def robust_scale(data: NDArray[np.float32], mask: NDArray[np.bool_]) -> IntensityScale:
    """Scale of a scan from the voxels of its brain.

    Raises
    ------
    ValueError
        The mask is empty, or the brain is of one intensity.
    """
    values = data[mask]
    if values.size == 0:
        raise ValueError("the brain mask is empty")
    low, high = (float(v) for v in np.percentile(values, (0.1, 99.9)))
    low = min(low, 0.0)
    if not high > low:
        raise ValueError("the brain is of one intensity")
    return IntensityScale(low, high)


def histogram(
    values: NDArray[np.float32], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Counts (LEVELS,) of intensities in network units, or sums of their weights; what lies
    outside RANGE counts at its end."""
    counts, _ = np.histogram(
        np.clip(values, *HISTOGRAM_RANGE),
        bins=HISTOGRAM_BINS,
        range=HISTOGRAM_RANGE,
        weights=weights,
    )
    return counts.astype(np.float64)


def histogram_quantiles(
    counts: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Quantiles, in network units, of a histogram made by :func:`histogram`."""
    edges = np.linspace(*HISTOGRAM_RANGE, HISTOGRAM_BINS + 1)
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    return np.interp(probabilities * cumulative[-1], cumulative, edges)


@frozen
class IntensityCurve:
    """A monotone, piecewise linear map between network units of two scans, straight beyond its
    ends."""

    input_knots: NDArray[np.float64] = field(converter=np.asarray)
    output_knots: NDArray[np.float64] = field(converter=np.asarray)

    def __call__(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map intensities of any shape."""
        flat = data.ravel()
        out = np.interp(flat, self.input_knots, self.output_knots)
        for end, beyond in ((0, flat < self.input_knots[0]), (-1, flat > self.input_knots[-1])):
            out[beyond] = self.output_knots[end] + (
                flat[beyond] - self.input_knots[end]
            ) * self._slope(end)
        return out.reshape(data.shape).astype(np.float32)

    def _slope(self, end: int) -> float:
        """Slope beyond an end: below, the line to no signal; above, the slope of the whole
        curve."""
        if end == 0 and self.input_knots[0] > -0.999:
            return float(max(self.output_knots[0] + 1.0, 0.0) / (self.input_knots[0] + 1.0))
        rise = self.output_knots[-1] - self.output_knots[0]
        return float(rise / (self.input_knots[-1] - self.input_knots[0]))


def quantile_curve(source: NDArray[np.float64], target: NDArray[np.float64]) -> IntensityCurve:
    """The curve through LANDMARKS quantiles of two histograms, from ``source`` to ``target``."""
    probabilities = np.linspace(TAIL_FRACTION, 1 - TAIL_FRACTION, CURVE_QUANTILES)
    x, y = histogram_quantiles(source, probabilities), histogram_quantiles(target, probabilities)
    # Integer-valued scans repeat quantiles; interpolation needs a strictly rising source.
    keep = np.concatenate([[True], np.diff(x) > 1e-4])
    if keep.sum() < 2:
        raise ValueError("the brain is of one intensity")
    x, y = x[keep], np.maximum.accumulate(y)[keep]
    # A mask that holds some dark voxels must not make all darkness as bright as the target's CSF.
    middle = len(x) // 2
    steepest = MAX_RELATIVE_SLOPE * max(y[middle] + 1.0, 0.0) / max(x[middle] + 1.0, 1e-3)
    y = np.where(x < x[middle], np.minimum(y, steepest * (x + 1.0) - 1.0), y)
    if x[0] > -1.0:
        x, y = np.concatenate([[-1.0], x]), np.concatenate([[min(-1.0, y[0])], y])
    return IntensityCurve(x, y)


def landmark_curve(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> IntensityCurve | None:
    """The curve through no signal and the same landmarks of two scans, in network units.

    None where fewer than two landmarks are known (finite) on both sides, or their order differs.
    """
    known = np.isfinite(source) & np.isfinite(target)
    order = np.argsort(source[known])
    x = np.concatenate([[-1.0], source[known][order]])
    y = np.concatenate([[-1.0], target[known][order]])
    if (
        known.sum() < 2
        or (np.diff(x) < MIN_LANDMARK_GAP).any()
        or (np.diff(y) < MIN_LANDMARK_GAP).any()
    ):
        return None
    return IntensityCurve(x, y)


def weighted_mean_curve(
    one: IntensityCurve, other: IntensityCurve, share: float = 0.5
) -> IntensityCurve:
    """The curve between two; ``share``, 0 to 1, is the weight of the first."""
    knots = np.union1d(one.input_knots, other.input_knots)
    x = knots[np.concatenate([[True], np.diff(knots) > 1e-4])].astype(np.float32)
    mean = share * one(x).astype(np.float64) + (1 - share) * other(x)
    return IntensityCurve(x.astype(np.float64), np.maximum.accumulate(mean))
