"""Histogram matching of the brain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.qc.histogram_matching import match_brain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.lab.comparators.interface import MaskedImage


def harmonize(source: MaskedImage, references: Sequence[MaskedImage]) -> NDArray[np.float32]:
    """Match the histogram of the source's brain to that of all references' brains."""
    return match_brain(
        source.data,
        source.mask,
        np.concatenate([scan.brain for scan in references]),
        (
            min(float(scan.data.min()) for scan in references),
            max(float(scan.data.max()) for scan in references),
        ),
    )
