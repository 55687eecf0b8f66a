"""Z-score normalization (Reinhold et al. 2019, SPIE Medical Imaging 10949:109493H)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.lab.comparators.interface import MaskedImage


def harmonize(source: MaskedImage, references: Sequence[MaskedImage]) -> NDArray[np.float32]:
    """Give the source's brain the mean and standard deviation of all references' brains."""
    brain, target = source.brain, np.concatenate([scan.brain for scan in references])
    score = (source.data.astype(np.float64) - brain.mean()) / brain.std()
    return np.asarray(score * target.std() + target.mean(), dtype=np.float32)
