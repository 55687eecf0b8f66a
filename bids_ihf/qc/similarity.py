"""Image similarity between a harmonized image and a scan of the target.

Both images are scaled by the target's 0.1 and 99.9 percentiles inside the mask and clipped to
[0, 1], so that the data range is 1.  RMSE and PSNR are computed inside the mask and over the full
frame; MS-SSIM is computed on the full axial slices that contain brain, and averaged.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LOGGER = logging.getLogger(__name__)

SCALING_PERCENTILES = (0.1, 99.9)
"""Percentiles (%) of the target inside the mask that become 0 and 1."""

SCALE_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang, Simoncelli and Bovik 2003, section 3.2)."""

WINDOW_VOXELS, WINDOW_SD_VOXELS = 11, 1.5
"""Side and standard deviation of the Gaussian window of SSIM (Wang et al. 2004, section III-B)."""

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
"""Stabilizing constants of SSIM for a data range of 1 (Wang et al. 2004, Eq. 6)."""


def similarity_metrics(
    harmonized: NDArray[np.floating], target: NDArray[np.floating], mask: NDArray[np.bool_]
) -> dict[str, float]:
    """RMSE, PSNR and MS-SSIM of a pair of volumes on the same grid.

    Parameters
    ----------
    harmonized, target
        (X, Y, Z), in any units; the third axis crosses axial slices.
    mask
        Brain, (X, Y, Z).

    Returns
    -------
    dict
        ``rmse_mask``, ``psnr_mask``, ``rmse_frame``, ``psnr_frame``, ``ms_ssim`` and
        ``ms_ssim_scales`` (5 unless the slices are too small).  PSNR is in dB; the others have no
        unit.

    Raises
    ------
    ValueError
        The shapes differ, the mask is empty, or the target is constant inside it.
    """
    if not harmonized.shape == target.shape == mask.shape:
        raise ValueError(f"shapes differ: {harmonized.shape}, {target.shape}, {mask.shape}")
    low, high = intensity_range(target, mask)
    image, reference = (to_unit_range(data, low, high) for data in (harmonized, target))
    with_brain = mask.any(axis=(0, 1))
    stacks = (np.moveaxis(data[:, :, with_brain], 2, 0) for data in (image, reference))
    similarity, scales = ms_ssim(*stacks)
    return {
        "rmse_mask": rmse(image[mask], reference[mask]),
        "psnr_mask": psnr(image[mask], reference[mask]),
        "rmse_frame": rmse(image, reference),
        "psnr_frame": psnr(image, reference),
        "ms_ssim": float(similarity.mean()),
        "ms_ssim_scales": float(scales),
    }


def intensity_range(target: NDArray[np.floating], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The target's 0.1 and 99.9 percentiles inside the mask.

    Raises
    ------
    ValueError
        The mask is empty, or the target is constant inside it.
    """
    if not mask.any():
        raise ValueError("the mask is empty")
    low, high = np.percentile(target[mask].astype(np.float64), SCALING_PERCENTILES)
    if not high > low:
        raise ValueError("the target is constant inside the mask")
    return float(low), float(high)


def to_unit_range(data: NDArray[np.floating], low: float, high: float) -> NDArray[np.float64]:
    """Scale so that ``low`` becomes 0 and ``high`` becomes 1, and clip to [0, 1]."""
    scaled: NDArray[np.float64] = np.clip((data.astype(np.float64) - low) / (high - low), 0, 1)
    return scaled


def rmse(image: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Root mean square error of two arrays of one shape."""
    return float(np.sqrt(np.mean(np.square(image - reference))))


def psnr(image: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio in dB for a data range of 1; infinite for equal arrays."""
    error = rmse(image, reference)
    return float("inf") if error == 0 else float(-20 * np.log10(error))


def ms_ssim(
    image: NDArray[np.float64], reference: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int]:
    """Multiscale SSIM of each pair of slices (Wang, Simoncelli and Bovik 2003, Eq. 7).

    Contrast and structure are compared at every scale, luminance at the coarsest, only where the
    Gaussian window fits; a negative mean of the former, which has no real power, counts as 0.
    Slices are halved by averaging 2 x 2 voxels, with an edge of odd length repeated.

    Parameters
    ----------
    image, reference
        Slices (N, H, W) with values in [0, 1].

    Returns
    -------
    array, int
        One value for each slice (N,), and the number of scales: 5, or as many as leave room for
        the window, the exponents then being scaled to keep their sum.

    Raises
    ------
    ValueError
        The slices are smaller than the window.
    """
    scales = usable_scales(min(image.shape[1:]))
    if scales < len(SCALE_EXPONENTS):
        LOGGER.info(
            "MS-SSIM with %d instead of %d scales: slices of %d x %d voxels are too small.",
            scales, len(SCALE_EXPONENTS), *image.shape[1:],
        )  # fmt: skip
    weights = np.array(SCALE_EXPONENTS[:scales]) * (
        sum(SCALE_EXPONENTS) / sum(SCALE_EXPONENTS[:scales])
    )
    result = np.ones(len(image))
    for scale, weight in enumerate(weights):
        similarity, structure = ssim(image, reference)
        last = scale == scales - 1
        result *= np.maximum(similarity if last else structure, 0) ** weight
        if not last:
            image, reference = _halve(image), _halve(reference)
    return result, scales


def usable_scales(shortest_side: int) -> int:
    """How many scales, at most five, slices with a shortest side of this many voxels allow.

    Raises
    ------
    ValueError
        Not even one.
    """
    scales = 0
    while scales < len(SCALE_EXPONENTS) and shortest_side >= WINDOW_VOXELS:
        scales += 1
        shortest_side = (shortest_side + 1) // 2
    if scales == 0:
        raise ValueError(
            f"slices of {shortest_side} voxels are smaller than the window of {WINDOW_VOXELS}"
        )
    return scales


def ssim(
    image: NDArray[np.float64], reference: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean SSIM of each pair of slices (Wang et al. 2004, Eq. 13), and without its luminance.

    Parameters
    ----------
    image, reference
        Slices (N, H, W) with values in [0, 1].

    Returns
    -------
    array, array
        Both (N,), averaged where the 11 x 11 Gaussian window (sigma 1.5) fits into the slice.
    """
    mean_o, mean_t = _smooth(image), _smooth(reference)
    variances = _smooth(image * image) - mean_o**2 + _smooth(reference * reference) - mean_t**2
    covariance = _smooth(image * reference) - mean_o * mean_t
    structure = (2 * covariance + SSIM_C2) / (variances + SSIM_C2)
    luminance = (2 * mean_o * mean_t + SSIM_C1) / (mean_o**2 + mean_t**2 + SSIM_C1)
    return (luminance * structure).mean(axis=(1, 2)), structure.mean(axis=(1, 2))


def _smooth(slices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means under the Gaussian window, where it fits."""
    reach = WINDOW_VOXELS // 2
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / WINDOW_SD_VOXELS) ** 2)
    weights /= weights.sum()
    rows = ndimage.correlate1d(slices, weights, axis=1)[:, reach:-reach]
    both: NDArray[np.float64] = ndimage.correlate1d(rows, weights, axis=2)[:, :, reach:-reach]
    return both


def _halve(slices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average blocks of 2 x 2 voxels."""
    _, height, width = slices.shape
    even = np.pad(slices, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    blocks = even.reshape(len(even), even.shape[1] // 2, 2, even.shape[2] // 2, 2)
    halved: NDArray[np.float64] = blocks.mean(axis=(2, 4))
    return halved
