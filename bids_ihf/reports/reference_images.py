"""The registered template on the grid of an image, and the contrast of the target on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bids_ihf.geometry.grid import resample_within
from bids_ihf.geometry.template import load_template

if TYPE_CHECKING:
    from bids_ihf.preprocessing.prepare import Prepared
    from bids_ihf.targets.profile import Profile


def template_on_image(prepared: Prepared) -> NDArray[np.float32]:
    """Return the template (X, Y, Z) on the image's grid: 1 in its brain, 2 in its white matter,
    and values between where a voxel holds both."""
    template = load_template()
    return _resample_template(template.mask.astype(np.float32) + template.tissues[1], prepared)


def target_contrast(prepared: Prepared, target: Profile) -> NDArray[np.float32] | None:
    """Return the template's tissues (X, Y, Z) on the image's grid with the target's intensities.

    A target holds statistics and no image: this is the contrast to expect, not a scan.  None if
    the target lacks the intensity of a tissue.
    """
    if not np.isfinite(target.landmarks).all():
        return None
    levels = target.scale.restore(target.landmarks.astype(np.float32))
    return _resample_template(np.tensordot(levels, load_template().tissues, axes=1), prepared)


def _resample_template(data: NDArray[np.float32], prepared: Prepared) -> NDArray[np.float32]:
    """Resample data of the template to the image's grid, 0 outside the template's brain.

    Only the box that holds this brain is interpolated.
    """
    template = load_template()
    return resample_within(
        data, template.mask, template.grid, prepared.grid, target_to_source=prepared.to_template
    )
