"""Agreement between scanners: AVDP, coefficient of variation, intraclass correlation.

Measurements are (N, K): N people on K scanners, in any unit.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy import stats

Measurements = NDArray[np.float64]

CONFIDENCE_LEVEL = 0.95
"""Coverage of all intervals."""


@frozen
class Estimate:
    """An estimate and its confidence interval; NaN where there is none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


UNKNOWN_ESTIMATE = Estimate(float("nan"))
"""Stands for an estimate that too few people allow."""


def absolute_difference_percent(first: Measurements, second: Measurements) -> Measurements:
    """Absolute difference of two volumes in per cent of their mean (AVDP).

    100 |a - b| / ((a + b) / 2), as in Lu et al. 2025 for traveling subjects; NaN where both are 0.

    >>> absolute_difference_percent(np.array([95.0]), np.array([105.0]))
    array([10.])
    """
    mean = (np.asarray(first) + np.asarray(second)) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(mean > 0, 100 * np.abs(first - second) / mean, np.nan)


def person_differences(measurements: Measurements) -> Measurements:
    """AVDP of each person (N,), %: the mean over all pairs of scanners that have the person."""
    pairs = combinations(range(measurements.shape[1]), 2)
    differences = [
        absolute_difference_percent(measurements[:, i], measurements[:, j]) for i, j in pairs
    ]
    table = np.array(differences).reshape(len(differences), len(measurements))
    return np.asarray(_finite(table).mean(axis=0).filled(np.nan))


def _finite(values: Measurements) -> Any:
    """A masked array in which only finite values count."""
    return np.ma.masked_array(values, mask=~np.isfinite(values))


def person_variation(measurements: Measurements) -> Measurements:
    """Coefficient of variation of each person (N,), %: standard deviation over scanners (with
    n - 1) divided by the mean; NaN with fewer than two scanners."""
    values = _finite(measurements)
    mean = values.mean(axis=1)
    variation = 100 * values.std(axis=1, ddof=1) / mean
    variation[mean <= 0] = np.ma.masked
    return np.asarray(variation.filled(np.nan))


def mean_with_interval(values: Measurements) -> Estimate:
    """Mean of the finite values (N,) with the interval of Student's t; no interval for one."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return UNKNOWN_ESTIMATE
    mean = float(finite.mean())
    if finite.size < 2:
        return Estimate(mean)
    error = float(finite.std(ddof=1)) / np.sqrt(finite.size)
    reach = float(stats.t.ppf((1 + CONFIDENCE_LEVEL) / 2, finite.size - 1)) * error
    return Estimate(mean, mean - reach, mean + reach)


def intraclass_correlation(measurements: Measurements, *, absolute: bool) -> Estimate:
    """Intraclass correlation of single measurements in a two-way design, with its interval.

    Parameters
    ----------
    measurements
        (N, K) without gaps: N people on K scanners.
    absolute
        True for ICC(2,1), absolute agreement between random scanners: a constant difference
        between scanners lowers it.  False for ICC(3,1), consistency.

    Returns
    -------
    Estimate
        Unknown with fewer than two people or scanners, or without any variance.

    Notes
    -----
    Shrout and Fleiss 1979, Psychological Bulletin 86:420; intervals after McGraw and Wong 1996,
    Psychological Methods 1:30, Table 7.
    """
    people, scanners = measurements.shape
    if people < 2 or scanners < 2 or not np.isfinite(measurements).all():
        return UNKNOWN_ESTIMATE
    rows, columns, error = _mean_squares(measurements)
    if absolute:
        total = rows + (scanners - 1) * error + scanners * (columns - error) / people
    else:
        total = rows + (scanners - 1) * error
    if total <= 0:
        return UNKNOWN_ESTIMATE
    value = (rows - error) / total
    if error <= 0 and (columns <= 0 or not absolute):
        return Estimate(value, value, value)
    interval = _absolute_interval if absolute else _consistency_interval
    return Estimate(value, *interval((rows, columns, error), people, scanners, value))


def _mean_squares(measurements: Measurements) -> tuple[float, float, float]:
    """Mean squares of the two-way analysis of variance: people, scanners, residual."""
    people, scanners = measurements.shape
    grand = measurements.mean()
    row_means, column_means = measurements.mean(axis=1), measurements.mean(axis=0)
    rows = scanners * np.square(row_means - grand).sum() / (people - 1)
    columns = people * np.square(column_means - grand).sum() / (scanners - 1)
    residual = measurements - row_means[:, None] - column_means + grand
    error = np.square(residual).sum() / ((people - 1) * (scanners - 1))
    # Rounding is no variance.
    negligible = (np.finfo(np.float64).eps * max(abs(grand), np.abs(measurements).max())) ** 2
    rows, columns, error = (0.0 if ms < 100 * negligible else ms for ms in (rows, columns, error))
    return float(rows), float(columns), float(error)


def _consistency_interval(
    mean_squares: tuple[float, float, float], people: int, scanners: int, _value: float
) -> tuple[float, float]:
    rows, _, error = mean_squares
    level, degrees = (1 + CONFIDENCE_LEVEL) / 2, (people - 1, (people - 1) * (scanners - 1))
    ratio = rows / error
    low = ratio / float(stats.f.ppf(level, *degrees))
    high = ratio * float(stats.f.ppf(level, *degrees[::-1]))
    return (low - 1) / (low + scanners - 1), (high - 1) / (high + scanners - 1)


def _absolute_interval(
    mean_squares: tuple[float, float, float], people: int, scanners: int, value: float
) -> tuple[float, float]:
    rows, columns, error = mean_squares
    n, k = people, scanners
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    squares = (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    freedom = (a * columns + b * error) ** 2 / squares
    level = (1 + CONFIDENCE_LEVEL) / 2
    lower = float(stats.f.ppf(level, n - 1, freedom))
    upper = float(stats.f.ppf(level, freedom, n - 1))
    rest = k * columns + (k * n - k - n) * error
    low = n * (rows - lower * error) / (lower * rest + n * rows)
    high = n * (upper * rows - error) / (rest + n * upper * rows)
    return low, high


def complete_block(measurements: Measurements) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the people and scanners of the largest table without gaps.

    Of all sets of two or more scanners, the one with most measurements by people who were on all
    of them; none (0 people) where fewer than two people share two scanners.
    """
    present = np.isfinite(measurements)
    nobody = np.empty(0, dtype=np.intp)
    best = (nobody, nobody)
    for chosen in sorted(_shared_scanners(present), key=lambda chosen: (len(chosen), chosen)):
        people = np.flatnonzero(present[:, chosen].all(axis=1))
        size = len(people) * len(chosen)
        if min(len(people), len(chosen)) >= 2 and size > best[0].size * best[1].size:
            best = (people, np.array(chosen))
    return best


def _shared_scanners(present: NDArray[np.bool_]) -> set[tuple[int, ...]]:
    """Each set of scanners that some people (rows) have in common.

    The largest table is of one of them: its people share all of its scanners and no other.  They
    are far fewer than all sets where a study has many scanners.
    """
    shared: set[tuple[int, ...]] = set()
    for row in np.unique(present, axis=0):
        own = tuple(np.flatnonzero(row).tolist())
        shared |= {tuple(scanner for scanner in own if scanner in other) for other in shared}
        shared.add(own)
    return shared


@frozen
class Agreement:
    """Agreement of one structure's volume between scanners.

    ``difference`` (AVDP) and ``variation`` (coefficient of variation) are means over people, in
    per cent; ``absolute`` is ICC(2,1) and ``consistent`` ICC(3,1), of ``icc_people`` people on
    ``icc_scanners`` scanners; ``people`` is the number with two scanners or more.
    """

    difference: Estimate
    variation: Estimate
    absolute: Estimate
    consistent: Estimate
    people: int
    icc_people: int
    icc_scanners: int


def measure_agreement(measurements: Measurements) -> Agreement:
    """Agreement of measurements (N, K), NaN where a person was not on a scanner."""
    differences = person_differences(measurements)
    people, scanners = complete_block(measurements)
    block = measurements[np.ix_(people, scanners)]
    return Agreement(
        difference=_not_negative(mean_with_interval(differences)),
        variation=_not_negative(mean_with_interval(person_variation(measurements))),
        absolute=intraclass_correlation(block, absolute=True),
        consistent=intraclass_correlation(block, absolute=False),
        people=int(np.isfinite(differences).sum()),
        icc_people=len(people),
        icc_scanners=len(scanners),
    )


def _not_negative(estimate: Estimate) -> Estimate:
    """An estimate of what cannot be negative, its interval cut at 0."""
    return Estimate(estimate.value, np.maximum(estimate.low, 0.0), estimate.high)


def difference_change(before: Measurements, after: Measurements) -> Estimate:
    """Mean change of the people's AVDP (percentage points) with its interval, paired by person;
    negative where scanners agree better after."""
    return mean_with_interval(person_differences(after) - person_differences(before))


def change_verdict(change: Estimate) -> str:
    """``helped``, ``harmed`` or ``no clear difference``: whether the interval of a change of AVDP
    excludes zero.

    >>> change_verdict(Estimate(-1.0, -1.5, -0.5)), change_verdict(Estimate(-1.0, -3.0, 1.0))
    ('helped', 'no clear difference')
    """
    if change.high < 0:
        return "helped"
    return "harmed" if change.low > 0 else "no clear difference"
