"""What the figures of an image show beside it: the template on its grid, and the target's
contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.spatial.template import load_template
from bids_ihf.volume.grid import resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.spatial.prepare import Prepared
    from bids_ihf.targets.profile import Profile


def template_on(prepared: Prepared) -> NDArray[np.float32]:
    """The template (X, Y, Z) on the image's grid: 1 in the brain, 2 in its white matter, and
    between where a voxel holds both."""
    template = load_template()
    levels = template.mask.astype(np.float32) + template.tissues[1]
    way = prepared.to_template
    return resample(levels, template.grid, prepared.grid, target_to_source=way)


def reference_picture(prepared: Prepared, target: Profile) -> NDArray[np.float32] | None:
    """The template (X, Y, Z) on the image's grid, its tissues painted in the target's
    intensities, in the target's units; None where the target does not know its tissues'.

    A target holds statistics and no image: this is the contrast to expect, not a scan.
    """
    if not np.isfinite(target.landmarks).all():
        return None
    levels = target.scale.restore(target.landmarks.astype(np.float32))
    template = load_template()
    painted = np.tensordot(levels, template.tissues, axes=1)
    way = prepared.to_template
    return resample(painted, template.grid, prepared.grid, target_to_source=way)
