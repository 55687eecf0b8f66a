"""What the comparators of structural images have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray


@frozen(eq=False)
class MaskedImage:
    """An image of any shape and its brain mask; by default all of it is brain."""

    data: NDArray[np.floating]
    mask: NDArray[np.bool_] = field()

    @mask.default
    def _everywhere(self) -> NDArray[np.bool_]:
        return np.ones(self.data.shape, dtype=bool)

    @property
    def brain(self) -> NDArray[np.float64]:
        """Intensities inside the mask, (N,)."""
        return self.data[self.mask].astype(np.float64)
