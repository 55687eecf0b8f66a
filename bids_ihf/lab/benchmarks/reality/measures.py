"""What is measured of a scan: noise, sharpness, contrast, bias, histogram and texture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, stats

from bids_ihf.lab.benchmarks.reality.edges import GREY_WHITE, VENTRICLE, edge_width_mm
from bids_ihf.lab.benchmarks.reality.measured_slices import central
from bids_ihf.lab.benchmarks.reality.tissue_classes import (
    CSF,
    GREY,
    MIN_CORE_VOXELS,
    WHITE,
    find_tissues,
    smooth_in_plane,
)
from bids_ihf.lab.benchmarks.tables import Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.reality.measured_slices import MeasuredSlices
    from bids_ihf.lab.benchmarks.reality.tissue_classes import TissueClasses

TRIMMED_SHARE = 0.975
SD_PER_TRIMMED_SD = 1.0839
"""Share of the smallest deviations that count, and a normal distribution's standard deviation per
that of them.  The median absolute deviation would be 0 in images of few grey levels."""

TEXTURE_SIGMAS_MM = (0.0, 0.6, 1.2, 2.4, 4.8)
"""Gaussians, mm, whose differences are the bands of texture."""

BAND_WAVELENGTHS_MM = (2, 4, 8, 16)
"""Wavelengths at which the bands pass most, about 6.5 times the narrower Gaussian, mm."""

MAX_FINE_VOXEL_MM = 1.5
"""Voxel size, mm, from which a scan has no texture of 2 mm."""

BIAS_ORDER = 3
"""Order of the polynomial that is fitted to the logarithm of white matter."""

COORDINATE_UNIT_MM = 90.0

MAX_VENTRICLE_DISTANCE_MM = 4.0
"""Distance from the core of CSF, mm, within which its borders are looked for."""

MEASURES = {
    "noise": Column("Noise in white matter: standard deviation of the diagonal detail of the Haar "
                    "wavelet, relative to white matter"),
    "edge_grey_white_mm": Column("Width of the border of grey and white matter", "mm"),
    "edge_ventricle_mm": Column("Width of the border of white matter and ventricles", "mm"),
    "grey_to_white": Column("Grey matter relative to white matter, after N4"),
    "csf_to_white": Column("CSF relative to white matter, after N4"),
    "bias_before": Column("Coefficient of variation of a cubic polynomial in white matter, as "
                          "stored"),
    "bias_after": Column("The same after N4"),
    "skewness": Column("Skewness of intensities in the brain, after N4"),
    "kurtosis": Column("Excess kurtosis of them"),
    "p05_to_median": Column("5th percentile relative to the median"),
    "p25_to_median": Column("25th percentile relative to the median"),
    "p75_to_median": Column("75th percentile relative to the median"),
    "p95_to_median": Column("95th percentile relative to the median"),
    **{
        f"texture_{tissue}_{wavelength}mm": Column(
            f"Standard deviation of {tissue} matter in the band around {wavelength} mm, relative "
            "to white matter"
        )
        for tissue in ("white", "grey")
        for wavelength in BAND_WAVELENGTHS_MM
    },
}  # fmt: skip
"""All measures; intensities are relative to white matter, so that units do not count."""


def measure_scan(slices: MeasuredSlices, tissues: TissueClasses | None = None) -> dict[str, float]:
    """All measures of a scan; NaN where one cannot be taken.

    `tissues` are those of another scan of the same person on the same grid, where this one's
    contrast cannot tell grey from white matter.
    """
    zooms = slices.zooms
    tissues = find_tissues(slices) if tissues is None else tissues
    white = tissues.cores[WHITE]
    biases = {
        # A single slice was corrected, or not, by whoever cut it out.
        "bias_before": np.nan if slices.voxel_class == "slice" else bias(slices.raw, white, zooms),
        "bias_after": bias(slices.corrected, white, zooms),
    }
    planes = central(slices)
    tissues = tissues.part(planes)
    grey, white_level, csf = tissues.levels(slices.corrected[..., planes])
    image = (slices.corrected[..., planes] / white_level).astype(np.float32)
    grey, csf = float(grey / white_level), float(csf / white_level)
    at_csf = _near(tissues.cores[CSF], MAX_VENTRICLE_DISTANCE_MM, zooms)
    return {
        "noise": noise(image, tissues.cores[WHITE]),
        "edge_grey_white_mm": edge_width_mm(image, (grey, 1.0), tissues.deep, zooms, GREY_WHITE),
        "edge_ventricle_mm": edge_width_mm(image, (csf, 1.0), at_csf, zooms, VENTRICLE),
        "grey_to_white": grey,
        "csf_to_white": csf,
        **biases,
        **histogram_shape(image[tissues.deep]),
        **texture(image, tissues, zooms),
    }


def _near(
    core: NDArray[np.bool_], distance_mm: float, zooms: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Voxels in a slice within a distance of a core."""
    return np.stack([
        ndimage.distance_transform_edt(~plane, sampling=zooms[:2]) <= distance_mm
        if plane.any() else plane
        for plane in np.moveaxis(core, 2, 0)
    ], axis=2)  # fmt: skip


def noise(image: NDArray[np.float32], white: NDArray[np.bool_]) -> float:
    """Standard deviation of the noise in white matter, from the finest diagonal detail.

    After Donoho & Johnstone 1994, Biometrika 81:425.  White noise is found in full, correlated
    noise (interpolated, filtered) less; anatomy hardly counts.
    """
    inside = white[:-1, :-1] & white[1:, :-1] & white[:-1, 1:] & white[1:, 1:]
    if inside.sum() < MIN_CORE_VOXELS:
        return np.nan
    detail = image[:-1, :-1] - image[1:, :-1] - image[:-1, 1:] + image[1:, 1:]
    return robust_sd(detail[inside]) / 2


def robust_sd(deviations: NDArray[np.float32]) -> float:
    """Standard deviation around zero without the tails."""
    size = np.abs(deviations)
    size = size[size <= np.quantile(size, TRIMMED_SHARE)]
    return float(SD_PER_TRIMMED_SD * np.sqrt(np.mean(size**2)))


def bias(
    image: NDArray[np.float32], white: NDArray[np.bool_], zooms: NDArray[np.float64]
) -> float:
    """Coefficient of variation of the smooth field in white matter.

    The standard deviation of a cubic polynomial fitted to the logarithm.
    """
    inside = white & (image > 0)
    if inside.sum() < 10 * MIN_CORE_VOXELS:
        return np.nan
    points = np.argwhere(inside) * zooms / COORDINATE_UNIT_MM
    points -= points.mean(axis=0)
    powers = [
        (i, j, k)
        for i in range(BIAS_ORDER + 1)
        for j in range(BIAS_ORDER + 1 - i)
        for k in range(BIAS_ORDER + 1 - i - j)
        if k == 0 or image.shape[2] > BIAS_ORDER
    ]
    basis = np.stack([np.prod(points**power, axis=1) for power in powers], axis=1)
    values = np.log(image[inside].astype(np.float64))
    coefficients, *_ = np.linalg.lstsq(basis, values, rcond=None)
    return float((basis @ coefficients).std())


def histogram_shape(values: NDArray[np.float32]) -> dict[str, float]:
    """Moments and quantile ratios of the intensities in the brain."""
    low, high = np.percentile(values, (0.1, 99.9))
    values = np.clip(values, low, high)
    quantiles = np.percentile(values, (5, 25, 75, 95)) / np.median(values)
    return {
        "skewness": float(stats.skew(values)),
        "kurtosis": float(stats.kurtosis(values)),
        **dict(zip(
            ("p05_to_median", "p25_to_median", "p75_to_median", "p95_to_median"),
            map(float, quantiles), strict=True,
        )),
    }  # fmt: skip


def texture(
    image: NDArray[np.float32], tissues: TissueClasses, zooms: NDArray[np.float64]
) -> dict[str, float]:
    """Standard deviation in octave bands inside white and grey matter.

    Differences of Gaussians that see nothing but the tissue (normalized convolution, Knutsson &
    Westin 1993).
    """
    found = {}
    for name, tissue in (("white", WHITE), ("grey", GREY)):
        core = tissues.cores[tissue]
        enough = core.sum() >= MIN_CORE_VOXELS
        smoothed = [_inside(image, core, sigma, zooms) for sigma in TEXTURE_SIGMAS_MM]
        for band, wavelength in enumerate(BAND_WAVELENGTHS_MM):
            resolved = wavelength > 2 or max(zooms[:2]) < MAX_FINE_VOXEL_MM
            detail = (smoothed[band] - smoothed[band + 1])[core]
            value = robust_sd(detail) if enough and resolved else np.nan
            found[f"texture_{name}_{wavelength}mm"] = value
    return found


def _inside(
    image: NDArray[np.float32],
    core: NDArray[np.bool_],
    sigma_mm: float,
    zooms: NDArray[np.float64],
) -> NDArray[np.float32]:
    if sigma_mm == 0:
        return image
    weight = core.astype(np.float32)
    total = smooth_in_plane(weight, sigma_mm, zooms)
    return smooth_in_plane(image * weight, sigma_mm, zooms) / np.maximum(total, 1e-6)
