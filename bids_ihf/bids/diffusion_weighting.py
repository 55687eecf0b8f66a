"""Which files in ``dwi/`` are diffusion-weighted series."""

from __future__ import annotations

import math
from pathlib import Path

from bids_ihf.bids.gradient_tables import MAX_B0_S_PER_MM2, is_in_ms_per_um2, read_numbers
from bids_ihf.errors import BadData
from bids_ihf.io.nifti import open_image

NO_WEIGHTING_ACTION, SINGLE_VOLUME_ACTION = (
    "skip: no diffusion weighting",
    "skip: a single volume",
)
"""Why a file in ``dwi/`` is no series to harmonize: reverse-encoded b0 volumes are no failure."""


def why_not_harmonized(
    image: Path, bval: Path | None, b0_threshold: float | None = None
) -> str | None:
    """The action for a file that is no diffusion-weighted series; None where it may be one, or
    where reading it will tell what is wrong."""
    try:
        if math.prod(open_image(image).shape[3:]) < 2:
            return SINGLE_VOLUME_ACTION
        values = read_numbers(image, bval, "bval").ravel()
    except (BadData, OSError):
        return None
    threshold = max(b0_threshold or 0.0, MAX_B0_S_PER_MM2)
    unweighted = 0 <= values.min() and values.max() <= threshold and not is_in_ms_per_um2(values)
    return NO_WEIGHTING_ACTION if unweighted else None
