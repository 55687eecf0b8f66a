"""ComBat on volumes: location and scale of each scanner, shrunk over structures.

Johnson, Li and Rabinovic 2007, Biostatistics 8:118, the parametric empirical Bayes; for imaging,
with covariates whose effects are kept, Fortin et al. 2018, NeuroImage 167:104.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Array = NDArray[np.float64]

MIN_SCANNER_IMAGES = 3
"""Images of each scanner that a fit needs, for a variance that is more than a guess."""

TOLERANCE, MAX_ITERATIONS = 1e-6, 500
"""Relative change of the estimates that ends the iteration, and its bound."""


@frozen(eq=False)
class Combat:
    """A fitted ComBat for F structures, K scanners and C covariates.

    Attributes
    ----------
    scanners
        Names (K,).
    intercepts, slopes, deviation
        Mean (F,) over scanners at covariates of 0, effects of covariates (C, F), and pooled
        residual standard deviation (F,).
    shifts, scales
        Location and variance (K, F) of each scanner's standardized values.
    """

    scanners: tuple[str, ...]
    intercepts: Array
    slopes: Array
    deviation: Array
    shifts: Array
    scales: Array

    def apply(self, values: Array, scanners: NDArray[Any], covariates: Array) -> Array:
        """Volumes (N, F) of images without their scanners' effects.

        Raises
        ------
        ValueError
            A scanner was not among those of the fit.
        """
        unknown = sorted({str(name) for name in scanners} - set(self.scanners))
        if unknown:
            raise ValueError(f"no fit for scanner {', '.join(unknown)}")
        rows = np.array([self.scanners.index(str(name)) for name in scanners], dtype=np.intp)
        expected = self.intercepts + covariates @ self.slopes
        standardized = (values - expected) / self.deviation
        adjusted = (standardized - self.shifts[rows]) / np.sqrt(self.scales[rows])
        return np.asarray(expected + adjusted * self.deviation)


def fit_combat(values: Array, scanners: NDArray[Any], covariates: Array) -> Combat:
    """Fit ComBat to volumes.

    Parameters
    ----------
    values
        (N, F), without gaps.
    scanners
        Name of each row's scanner, (N,).
    covariates
        (N, C) whose effects are to be kept; C may be 0.

    Raises
    ------
    ValueError
        A scanner has fewer than MIN_SCANNER_IMAGES rows, covariates cannot be told from scanners,
        or a structure does not vary.
    """
    names, index = np.unique(np.asarray(scanners, dtype=str), return_inverse=True)
    counts = np.bincount(index, minlength=len(names))
    if counts.min() < MIN_SCANNER_IMAGES:
        raise ValueError(f"ComBat needs {MIN_SCANNER_IMAGES} images of every scanner")
    design = np.hstack([np.eye(len(names))[index], covariates])
    if len(design) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError("covariates and scanners cannot be told apart")
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0].astype(np.float64)
    by_scanner, slopes = coefficients[: len(names)], coefficients[len(names) :]
    deviation = np.sqrt(np.square(values - design @ coefficients).mean(axis=0))
    if not (deviation > 0).all():
        raise ValueError("a structure does not vary within scanners")
    intercepts = counts @ by_scanner / counts.sum()
    standardized = (values - intercepts - covariates @ slopes) / deviation
    groups = [standardized[index == number] for number in range(len(names))]
    shifts, scales = zip(*map(_scanner_effects, groups), strict=True)
    return Combat(
        tuple(map(str, names)), intercepts, slopes, deviation, np.array(shifts), np.array(scales)
    )


def _scanner_effects(rows: Array) -> tuple[Array, Array]:
    """Location and variance (F,) of one scanner's standardized rows (n, F), shrunk towards their
    means over structures (Johnson et al. 2007, Eq. 3.1); as they are with fewer than two."""
    count = len(rows)
    mean, variance = rows.mean(axis=0), rows.var(axis=0, ddof=1)
    if rows.shape[1] < 2 or mean.var(ddof=1) <= 0 or variance.var(ddof=1) <= 0:
        return mean, variance
    prior_mean, prior_variance = mean.mean(), mean.var(ddof=1)
    centre, spread = variance.mean(), variance.var(ddof=1)
    shape, rate = 2 + centre**2 / spread, centre + centre**3 / spread
    shift, scale = mean, variance
    for _ in range(MAX_ITERATIONS):
        weight = count * prior_variance
        new_shift = (weight * mean + scale * prior_mean) / (weight + scale)
        squares = np.square(rows - new_shift).sum(axis=0)
        new_scale = (rate + squares / 2) / (count / 2 + shape - 1)
        moved = max(_relative(new_shift, shift), _relative(new_scale, scale))
        shift, scale = new_shift, new_scale
        if moved < TOLERANCE:
            break
    return shift, scale


def _relative(new: Array, old: Array) -> float:
    return float((np.abs(new - old) / np.maximum(np.abs(old), 1e-9)).max())
