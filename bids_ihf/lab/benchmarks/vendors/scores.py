"""The measures of the benchmark: one image of a person against the true scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.lab.benchmarks.metrics.similarity import (
    intensity_range,
    similarity_metrics,
    to_unit_range,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.virtual_subjects import Slices

SIDE = 161
"""Shortest side (voxels) of a slice that lets MS-SSIM have its five scales."""

MARGIN = 7
"""Voxels of head round the brain that belong to the frame."""

MEASURES = ("rmse", "psnr", "ms_ssim", "rmse_frame", "psnr_frame")
OWN = ("rmse_own", "psnr_own", "ms_ssim_own")
"""With every image in its own range, which takes units out."""


def scores(image: NDArray[np.floating], truth: Slices) -> dict[str, float]:
    """MEASURES and OWN of an image (X, Y, S) in any units.

    MEASURES scale both images by the truth's 0.1 and 99.9 percentiles in the brain, OWN each by
    its own.

    Raises
    ------
    ValueError
        Either is constant in the brain.
    """
    ours, theirs, mask = (_framed(x, truth.mask) for x in (image, truth.data, truth.mask))
    common = similarity_metrics(ours, theirs, mask)
    # Both go through the same arithmetic, so that equal images stay equal to the bit.
    unit = [to_unit_range(data, *intensity_range(data, mask)) for data in (ours, theirs)]
    own = similarity_metrics(unit[0], unit[1], mask)
    named = {
        "rmse": common["rmse_mask"],
        "psnr": common["psnr_mask"],
        "ms_ssim": common["ms_ssim"],
        "rmse_frame": common["rmse_frame"],
        "psnr_frame": common["psnr_frame"],
    }
    named |= {
        "rmse_own": own["rmse_mask"],
        "psnr_own": own["psnr_mask"],
        "ms_ssim_own": own["ms_ssim"],
    }
    return named


def _framed(data: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """The brain's box with MARGIN round it, or SIDE where that is more; zeros beyond the scan.

    A tilted head lies in a far larger box, the corners of which are empty in all scans.
    """
    taken, added = [], []
    for axis, size in enumerate(data.shape[:2]):
        inside = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        length = inside[-1] + 1 - inside[0]
        wanted = max(length + 2 * MARGIN, SIDE)
        low = inside[0] - (wanted - length) // 2
        high = low + wanted
        taken.append(slice(max(low, 0), min(high, size)))
        added.append((max(-low, 0), max(high - size, 0)))
    return np.pad(data[taken[0], taken[1]], [*added, (0, 0)])
