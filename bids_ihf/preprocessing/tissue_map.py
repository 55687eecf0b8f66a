"""Tissue maps: tissues as one image of the same contrast for every scan, for registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.geometry.grid import Grid, canonical_grid, resample
from bids_ihf.geometry.template import load_template
from bids_ihf.preprocessing import morphology
from bids_ihf.preprocessing.segmentation import SEGMENTATION_VOXEL_MM, antialias

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.segmentation import Segmentation

TISSUE_INTENSITIES = (0.0, 0.5, 1.0, 0.0)
"""Intensities of background, grey matter, white matter and CSF.

With CSF as dark as the background, upside-down brains correlate at 0.6 to 0.7 and aligned ones at
0.8 to 0.9, whatever the width of the sulci; brighter or darker CSF separates them less."""

BRAIN_MARGIN_MM = 6.0
"""Margin around the brain, mm, that is compared as well, so that the brain's outline counts."""


@frozen(eq=False)
class TissueMap:
    """Tissues as one image (X, Y, Z) of `TISSUE_INTENSITIES` on an isotropic grid.

    `brain` and `field_of_view` are the masks (X, Y, Z) of the brain and of the scanned box.
    """

    data: NDArray[np.float32]
    brain: NDArray[np.bool_]
    field_of_view: NDArray[np.bool_]
    grid: Grid

    @property
    def brain_centre(self) -> NDArray[np.float64]:
        """Centre of the brain in the world, mm, (3,)."""
        centre = np.argwhere(self.brain).mean(axis=0)
        return np.asarray(self.grid.affine[:3, :3] @ centre + self.grid.affine[:3, 3])

    def near_brain(self) -> NDArray[np.bool_]:
        """Scanned voxels in the brain and within `BRAIN_MARGIN_MM` of it."""
        zoom = float(self.grid.zooms[0])
        return morphology.dilate(self.brain, BRAIN_MARGIN_MM, zoom) & self.field_of_view

    def downsampled(self, zoom: float) -> TissueMap:
        """The map in voxels of `zoom` mm, or unchanged where they are no coarser than its own."""
        if zoom <= float(self.grid.zooms[0]):
            return self
        grid = canonical_grid(self.data.shape, self.grid.affine, zoom=zoom)
        data = resample(antialias(self.data, self.grid, zoom), self.grid, grid)
        brain, field_of_view = (
            resample(mask.astype(np.float32), self.grid, grid) > 0.5
            for mask in (self.brain, self.field_of_view)
        )
        return TissueMap(data, brain, field_of_view, grid)


def tissue_map(segmentation: Segmentation) -> TissueMap:
    """The tissue map of a scan, 2 mm."""
    intensities = np.array(TISSUE_INTENSITIES, dtype=np.float32)
    data = np.tensordot(intensities, segmentation.tissue_fractions, axes=1)
    return TissueMap(data, segmentation.brain > 0.5, segmentation.field_of_view, segmentation.grid)


def template_tissue_map() -> TissueMap:
    """The template's tissue map, 2 mm."""
    template = load_template()
    intensities = np.array(TISSUE_INTENSITIES[1:], dtype=np.float32)
    data = np.tensordot(intensities, template.tissues, axes=1)
    everywhere = np.ones(data.shape, dtype=bool)
    whole = TissueMap(data, template.mask, everywhere, template.grid)
    return whole.downsampled(SEGMENTATION_VOXEL_MM)
