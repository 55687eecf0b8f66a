"""What the probes for the scanner see of an image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from attrs import evolve
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.bids.names import Modality
from bids_ihf.network.encoder import Encoder
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.network_input import NetworkInput, measure_profile, to_network_input
from bids_ihf.targets.profile import Profile

Features = dict[str, NDArray[np.float64]]

APPEARANCE, HISTOGRAM, HEAD_SHAPE = "appearance", "histogram", "head shape"
"""Names of the features in the tables."""

FEATURE_MEANINGS = {
    APPEARANCE: "Mean embedding of the encoder over slices, and the strength of detail at "
    "scales of 0.7 to 5.6 mm: contrast, noise, sharpness",
    HISTOGRAM: "Histogram of the brain's intensities in its own range",
    HEAD_SHAPE: "Volume, extent and moments of the brain mask: what names the scanner here is not "
    "its contrast, so this is the same before and after",
}

BAND_SCALES_MM = (0.7, 1.4, 2.8, 5.6)
"""Standard deviations of Gaussians whose differences are bands of detail."""

HISTOGRAM_FEATURES = 32
"""Bins of the histogram."""

BLUR_FWHM_MM = 3.0
"""Full width at half maximum of the blur that serves as a control: it hides noise and sharpness
from a frozen classifier without any harmonization."""


def image_features(on_grid: NetworkInput, profile: Profile) -> Features:
    """Features of a scan on the network's grid, by name."""
    histogram = profile.histograms.sum(axis=0)
    coarse = histogram.reshape(HISTOGRAM_FEATURES, -1).sum(axis=1)
    appearance = np.concatenate([profile.embeddings.mean(axis=0), band_strengths(on_grid)])
    return {
        APPEARANCE: appearance.astype(np.float64),
        HISTOGRAM: np.sqrt(coarse / max(coarse.sum(), 1)),
        HEAD_SHAPE: shape_features(on_grid),
    }


def band_strengths(on_grid: NetworkInput) -> NDArray[np.float64]:
    """Logarithm of the standard deviation of each band of detail inside the brain."""
    data = on_grid.scale.normalize(on_grid.data)
    brain = on_grid.brain
    smooth = [data, *(ndimage.gaussian_filter(data, scale) for scale in BAND_SCALES_MM)]
    bands = [fine - coarse for fine, coarse in pairwise(smooth)]
    return np.log([max(float(band[brain].std()), 1e-6) for band in bands])


def shape_features(on_grid: NetworkInput) -> NDArray[np.float64]:
    """Logarithm of volume, extents, and second moments of the brain mask; its centre."""
    points = np.argwhere(on_grid.brain) + on_grid.grid.affine[:3, 3]
    moments = np.cov(points.T)[np.triu_indices(3)]
    extent = np.ptp(points, axis=0) + 1
    return np.concatenate([[np.log(len(points))], np.log(extent), points.mean(axis=0), moments])


def features_of(
    prepared: Prepared, data: NDArray[np.float32], modality: Modality, encoder: Encoder
) -> Features:
    """Features of a bias-corrected image (X, Y, Z) that has the geometry of a prepared scan.

    Raises
    ------
    ValueError
        The brain has one intensity.
    """
    on_grid = to_network_input(with_image(prepared, data), modality)
    return image_features(on_grid, measure_profile(on_grid, encoder))


def blurred_features(on_grid: NetworkInput, encoder: Encoder) -> Features:
    """Features of a scan after the blur that serves as a control."""
    sigma = BLUR_FWHM_MM / np.sqrt(8 * np.log(2))
    smooth = evolve(on_grid, data=ndimage.gaussian_filter(on_grid.data, sigma))
    return image_features(smooth, measure_profile(smooth, encoder))


def with_image(prepared: Prepared, data: NDArray[np.float32]) -> Prepared:
    """A prepared scan whose voxels are another, bias-corrected image (X, Y, Z)."""
    volume = evolve(prepared.volume, data=data)
    return evolve(prepared, volume=volume, bias=np.ones_like(data))
