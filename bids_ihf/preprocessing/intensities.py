"""What the intensities of a scan say of it: signed values, noise in the air."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.io.nifti import Volume

NEGATIVE_LIMITS = ((0.10, 0.01), (0.05, 0.10))
"""A scan is signed where the second fraction of its non-zero voxels lies further below zero than
the first fraction of its bright level.  Interpolation undershoots by up to 9 % of an edge, in few
voxels."""

BRIGHT_PERCENTILE = 99.0
"""Percentile of the magnitudes of non-zero voxels that is a scan's bright level."""

CORNER_FRACTION = 0.1
"""Length of the corners in which the air is examined, as a fraction of the field of view."""

MIN_BRIGHT_AIR, MIN_AIR_ROUGHNESS = 0.2, 0.7
"""Air is noise as bright as tissue above this mean, as a fraction of the bright level, where the
difference between neighbours has at least this standard deviation, relative to the voxels': 1.4
for white noise, below 0.5 for tissue."""

BRIGHT_AIR_TEXT = (
    "its air is noise as bright as the head, as in an MP2RAGE UNI image; give the denoised image, "
    "or a brain mask of it (--derivatives, or --mask of 'ihf harmonize')."
)

_MP2RAGE_NAME = re.compile(r"mp2rage|unit1|(?:rec|acq)-uni", re.IGNORECASE)


def check_not_signed(volume: Volume) -> None:
    """Check that a scan is a magnitude image, but for a few voxels of interpolation.

    Raises
    ------
    BadData
        Too many voxels are too far below zero, see NEGATIVE_LIMITS.
    """
    data = volume.data
    if data.min() >= 0:
        return
    values = data[data != 0]
    level = np.percentile(np.abs(values), BRIGHT_PERCENTILE)
    if any((values < -depth * level).mean() > limit for depth, limit in NEGATIVE_LIMITS):
        remedy = "give the image before normalization"
        if is_mp2rage(volume.path):
            remedy = "give the MP2RAGE UNI image in its range from 0 to 4095"
        raise BadData(
            f"{volume.path}: {(values < 0).mean():.0%} of its non-zero voxels are below zero "
            f"(down to {values.min():.3g}), as in a z-scored or zero-mean image; {remedy}."
        )


def is_mp2rage(path: Path) -> bool:
    """Whether the name of a file says that it is an MP2RAGE UNI image."""
    return _MP2RAGE_NAME.search(path.name) is not None


def has_bright_air(data: NDArray[np.float32]) -> bool:
    """Whether the corners of a scan (X, Y, Z) show noise as bright as tissue, as MP2RAGE UNI."""
    ends = [
        (slice(0, size), slice(-size, None))
        for size in (max(2, round(CORNER_FRACTION * n)) for n in data.shape)
    ]
    corners = [data[x, y, z] for x in ends[0] for y in ends[1] for z in ends[2]]
    values = np.concatenate([corner.ravel() for corner in corners])
    level = np.percentile(np.abs(data), BRIGHT_PERCENTILE)
    if not values.mean() > MIN_BRIGHT_AIR * level:
        return False
    steps = np.concatenate([np.diff(corner, axis=0).ravel() for corner in corners])
    return bool(steps.std() > MIN_AIR_ROUGHNESS * values.std())


def brain_error(volume: Volume, problem: str, remedy: str) -> BadData:
    """The error for a scan whose brain is not found: its air may tell why, else the `remedy`."""
    if has_bright_air(volume.data):
        remedy = BRIGHT_AIR_TEXT
    return BadData(f"{volume.path}: {problem}; {remedy}")
