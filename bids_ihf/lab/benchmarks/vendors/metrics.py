"""The metrics of the vendor benchmark: one image of a subject against the true scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.qc.similarity import (
    intensity_range,
    similarity_metrics,
    to_unit_range,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.virtual_subjects import Slices

MIN_FRAME_SIDE_VOXELS = 161
"""Shortest side of a slice on which MS-SSIM has its five scales."""

FRAME_MARGIN_VOXELS = 7
"""Margin of the frame around the brain."""

METRIC_COLUMNS = ("rmse", "psnr", "ms_ssim", "rmse_frame", "psnr_frame")
"""With both images scaled by the true scan's percentiles."""

RANGE_SCALED_COLUMNS = ("rmse_own", "psnr_own", "ms_ssim_own")
"""With each image scaled by its own percentiles, which makes them independent of units."""


def image_metrics(image: NDArray[np.floating], truth: Slices) -> dict[str, float]:
    """METRIC_COLUMNS and RANGE_SCALED_COLUMNS of an image (X, Y, S) in any units.

    Raises
    ------
    ValueError
        Image or truth is constant in the brain.
    """
    framed, true, mask = (_frame(data, truth.mask) for data in (image, truth.data, truth.mask))
    common = similarity_metrics(framed, true, mask)
    # Both go through the same arithmetic, so that equal images stay equal to the bit.
    scaled = [to_unit_range(data, *intensity_range(data, mask)) for data in (framed, true)]
    separate = similarity_metrics(scaled[0], scaled[1], mask)
    return {
        "rmse": common["rmse_mask"],
        "psnr": common["psnr_mask"],
        "ms_ssim": common["ms_ssim"],
        "rmse_frame": common["rmse_frame"],
        "psnr_frame": common["psnr_frame"],
        "rmse_own": separate["rmse_mask"],
        "psnr_own": separate["psnr_mask"],
        "ms_ssim_own": separate["ms_ssim"],
    }


def _frame(data: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Crop to the brain with its margin, or MIN_FRAME_SIDE_VOXELS; zeros beyond the scan.

    A tilted head lies in a far larger box, the corners of which are empty in all scans.
    """
    box, padding = [], []
    for axis, size in enumerate(data.shape[:2]):
        brain = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        length = brain[-1] + 1 - brain[0]
        target_length = max(length + 2 * FRAME_MARGIN_VOXELS, MIN_FRAME_SIDE_VOXELS)
        low = brain[0] - (target_length - length) // 2
        high = low + target_length
        box.append(slice(max(low, 0), min(high, size)))
        padding.append((max(-low, 0), max(high - size, 0)))
    return np.pad(data[box[0], box[1]], [*padding, (0, 0)])
