"""From intensities to what is shown: windows of two images, and a change laid over one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPARABLE = 3.0
"""Ratio of intensity ranges beyond which one window would leave an image black."""
HEADROOM = 1.1
"""White is this far above the brightest of the brain, so that fat and CSF keep some detail."""
LESS = np.array([64.0, 150.0, 255.0], dtype=np.float32)
MORE = np.array([255.0, 84.0, 56.0], dtype=np.float32)


@frozen
class Window:
    """Intensities shown black and white."""

    low: float
    high: float

    def share(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map black to 0 and white to 1."""
        return np.asarray((data - self.low) / (self.high - self.low), dtype=np.float32)

    def grey(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map to 0 - 255; NaN (the space between tiles) becomes black."""
        return np.asarray(np.clip(np.nan_to_num(self.share(data)), 0, 1) * 255, dtype=np.float32)

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g}"


def choose_windows(
    before: NDArray[np.float32], after: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[Window, Window]:
    """Return the windows of both images: one for both unless their units are far apart."""
    first, second = (_window(data, mask) for data in (before, after))
    spans = [window.high - window.low for window in (first, second)]
    if max(spans) > COMPARABLE * min(spans):
        return first, second
    both = Window(min(first.low, second.low), max(first.high, second.high))
    return both, both


def _window(data: NDArray[np.float32], mask: NDArray[np.bool_]) -> Window:
    inside = data[mask] if mask.any() else data
    low, high = (float(value) for value in np.percentile(inside, (0.5, 99.5)))
    low = min(low, 0.0)
    return Window(low, low + HEADROOM * (high - low) if high > low else low + 1.0)


def blend(grey: NDArray[np.float32], change: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a change (H, W), in units of full colour, over a grey image (H, W) of 0 - 255.

    Red is more and blue is less.  No change is transparent, so that anatomy shows where little
    happened.
    """
    amount = np.clip(np.nan_to_num(change), -1, 1)[..., None]
    weight = 0.9 * np.abs(amount)
    colour = np.where(amount > 0, MORE, LESS)
    # The image is dimmed, or white matter would wash the colours out.
    mixed = (1 - weight) * (0.75 * grey[..., None]) + weight * colour
    return np.asarray(mixed.round(), dtype=np.uint8)
