"""Grey matter, white matter and CSF of a scan's slices: a mixture of three normals.

The same mixture for all scans, real and simulated, so that what is compared is defined alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.lab.benchmarks.reality.measured_slices import MeasuredSlices

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREY, WHITE, CSF = 0, 1, 2

SMOOTHING_MM = 0.6
"""Gaussian before the mixture, mm: noise must not decide which tissue a voxel is."""

RIM_MM = 2.0
"""Distance from the edge of the mask, mm, up to which nothing is measured."""

PRIOR_FLOOR = 0.02
"""Least prior probability of a tissue, because borders of 2 mm fractions are coarse."""

ITERATIONS = 25
MAX_FIT_VOXELS = 60_000
MIN_CORE_PROBABILITY = 0.9
"""Probability from which a voxel belongs to the core of a tissue."""

MIN_CORE_SHARE = 0.4
"""Share of a tissue's most likely voxels that is its core where contrast is too low for that."""

MIN_CORE_VOXELS = 30

START_QUANTILES = {
    "T1w": (0.35, 0.78, 0.05),
    "T2w": (0.60, 0.25, 0.96),
    "FLAIR": (0.75, 0.40, 0.04),
}
"""Quantiles of the brain at which grey matter, white matter and CSF start without a prior."""


@frozen(eq=False)
class TissueClasses:
    """Tissues of a scan's slices.

    Attributes
    ----------
    probabilities
        Of grey matter, white matter and CSF, (3, X, Y, S).
    cores
        Voxels that surely are one tissue, (3, X, Y, S): white matter and CSF a voxel away from
        others; the cortex is too thin for that.
    deep
        The mask without its rim, (X, Y, S).
    """

    probabilities: NDArray[np.float32]
    cores: NDArray[np.bool_]
    deep: NDArray[np.bool_]

    def levels(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """Median intensity (3,) of the cores; NaN where a tissue has none."""
        return np.array([
            np.median(image[core]) if core.sum() >= MIN_CORE_VOXELS else np.nan
            for core in self.cores
        ])  # fmt: skip

    def part(self, planes: slice) -> TissueClasses:
        """Those of some of the slices."""
        return TissueClasses(
            self.probabilities[..., planes], self.cores[..., planes], self.deep[..., planes]
        )


def smooth_in_plane(
    image: NDArray[np.float32], sigma_mm: float, zooms: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Gaussian smoothing of slices (X, Y, S), each on its own."""
    sigma = (sigma_mm / zooms[0], sigma_mm / zooms[1], 0)
    return np.asarray(ndimage.gaussian_filter(image, sigma, mode="nearest"))


def find_tissues(slices: MeasuredSlices) -> TissueClasses:
    """Fit the mixture to the bias-corrected slices."""
    deep = _deep(slices.mask, slices.zooms)
    smooth = smooth_in_plane(slices.corrected, SMOOTHING_MM, slices.zooms)
    prior = None if slices.prior is None else slices.prior + PRIOR_FLOOR
    means, widths, shares = _fit(
        smooth[deep], None if prior is None else prior[:, deep], slices.modality
    )
    weights = shares[:, None, None, None] if prior is None else prior
    probabilities = _posterior(smooth, means, widths, weights) * deep
    return TissueClasses(probabilities.astype(np.float32), _cores(probabilities), deep)


def _deep(mask: NDArray[np.bool_], zooms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Slices of a mask without their rim."""
    distance = [
        ndimage.distance_transform_edt(plane, sampling=zooms[:2])
        for plane in np.moveaxis(mask, 2, 0)
    ]
    return np.stack(distance, axis=2) > RIM_MM


def _cores(probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
    most_likely = probabilities.argmax(axis=0)
    cores = np.zeros(probabilities.shape, dtype=bool)
    for tissue in (GREY, WHITE, CSF):
        voxels = (most_likely == tissue) & (probabilities[tissue] > 0)
        if voxels.any():
            surest = np.quantile(probabilities[tissue][voxels], 1 - MIN_CORE_SHARE)
            cores[tissue] = voxels & (probabilities[tissue] > min(MIN_CORE_PROBABILITY, surest))
    cross = ndimage.generate_binary_structure(2, 1)[:, :, None]
    for tissue in (WHITE, CSF):
        cores[tissue] = ndimage.binary_erosion(cores[tissue], cross)
    return cores


def _fit(
    values: NDArray[np.float32], prior: NDArray[np.float32] | None, modality: str
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Means, standard deviations and shares (3,) by expectation maximization."""
    low, high = np.percentile(values, (0.5, 99.5))
    inside = np.flatnonzero((values >= low) & (values <= high))
    inside = inside[:: max(1, len(inside) // MAX_FIT_VOXELS)]
    values = values[inside].astype(np.float64)
    if prior is None:
        means = np.quantile(values, START_QUANTILES[modality])
        weights = np.full((3, 1), 1 / 3)
    else:
        weights = prior[:, inside].astype(np.float64)
        certain = weights * (weights > 0.5 * weights.sum(axis=0))
        means = (certain @ values) / np.maximum(certain.sum(axis=1), 1e-6)
    widths = np.full(3, 0.15 * (high - low))
    shares = np.full(3, 1 / 3)
    for _ in range(ITERATIONS):
        posterior = _posterior(values, means, widths, weights)
        counts = np.maximum(posterior.sum(axis=1), 1e-6)
        means = posterior @ values / counts
        squares = (posterior * (values - means[:, None]) ** 2).sum(axis=1)
        widths = np.maximum(np.sqrt(squares / counts), 0.01 * (high - low))
        shares = counts / counts.sum()
        if prior is None:
            weights = shares[:, None]
    return means, widths, shares


def _posterior(
    values: NDArray[np.floating],
    means: NDArray[np.floating],
    widths: NDArray[np.floating],
    weights: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Probabilities (3, ...) of the tissues."""
    shape = (3,) + (1,) * values.ndim
    z = (values[None] - means.reshape(shape)) / widths.reshape(shape)
    density = weights * np.exp(-0.5 * np.minimum(z**2, 100)) / widths.reshape(shape)
    return np.asarray(density / np.maximum(density.sum(axis=0), 1e-30))
