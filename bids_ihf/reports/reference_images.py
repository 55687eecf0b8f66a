"""What the figures of an image show beside it: the template on its grid, and the target's
contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.geometry.grid import Grid, bounding_box_on, inverse_affine, resample
from bids_ihf.geometry.template import load_template

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.preprocessing.prepare import Prepared
    from bids_ihf.targets.profile import Profile


def template_on(prepared: Prepared) -> NDArray[np.float32]:
    """The template (X, Y, Z) on the image's grid: 1 in the brain, 2 in its white matter, and
    between where a voxel holds both."""
    template = load_template()
    return _on_scan(template.mask.astype(np.float32) + template.tissues[1], prepared)


def reference_picture(prepared: Prepared, target: Profile) -> NDArray[np.float32] | None:
    """The template (X, Y, Z) on the image's grid, its tissues painted in the target's
    intensities, in the target's units; None where the target does not know its tissues'.

    A target holds statistics and no image: this is the contrast to expect, not a scan.
    """
    if not np.isfinite(target.landmarks).all():
        return None
    levels = target.scale.restore(target.landmarks.astype(np.float32))
    return _on_scan(np.tensordot(levels, load_template().tissues, axes=1), prepared)


def _on_scan(picture: NDArray[np.float32], prepared: Prepared) -> NDArray[np.float32]:
    """A picture of the template, 0 outside its brain, at the scan's voxels; only where that brain
    lies anything is interpolated."""
    template = load_template()
    there = Grid(template.grid.shape, inverse_affine(prepared.to_template) @ template.grid.affine)
    out = np.zeros(prepared.grid.shape, dtype=np.float32)
    box = bounding_box_on(template.mask, there, prepared.grid)
    if box is not None:
        out[box] = resample(picture, there, prepared.grid.crop(box))
    return out
