"""Lines over the slices of a figure: where a volume crosses a level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.reports.mosaic import tile_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.reports.mosaic import Layout, View


@frozen(eq=False)
class Edges:
    """Where a volume (X, Y, Z) on the native grid crosses a level, in a colour (0 to 255)."""

    volume: NDArray[np.float32]
    level: float
    colour: tuple[int, int, int]

    def row(self, layout: Layout, view: View, cells: int) -> NDArray[np.uint8]:
        """The lines over a row of tiles (H, W, 4), transparent elsewhere."""
        levels = np.nan_to_num(tile_row(layout.to_ras(self.volume), layout, view, cells))
        line = rim(levels > self.level)
        opaque = np.array((*self.colour, 255), dtype=np.uint8)
        return np.where(line[..., None], opaque, np.uint8(0))


def rim(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels (H, W) inside that have a neighbour outside; the picture's edge is no outside."""
    grown = np.pad(inside, 1, mode="edge")
    deep = grown[:-2, 1:-1] & grown[2:, 1:-1] & grown[1:-1, :-2] & grown[1:-1, 2:]
    return np.asarray(inside & ~deep)
