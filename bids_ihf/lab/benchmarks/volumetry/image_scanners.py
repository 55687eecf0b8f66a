"""A simulated change of scanner on real images, so that the image before it is the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from bids_ihf.lab.simulation.smooth_fields import centred_axes, random_waves

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFERENCE_PERCENTILE = 99.0
"""Percentile of the image that stays where it is but for the units."""

GAMMA, SESSION_GAMMA_SD = 1.3, 0.03
"""Exponent of the intensity curve, which darkens CSF and grey matter, and its standard deviation
between sessions."""

BIAS_SD = 0.15
"""Standard deviation of the logarithm of the bias field."""

BLUR_FWHM_MM = 1.5
"""Full width at half maximum of the blur."""

SHIFT_VOXELS = (0.5, 0.3, 0.5)
"""Shift by which the image is resampled, and back."""

NOISE_FRACTION = 0.02
"""Standard deviation of the noise in each channel, relative to the reference percentile."""

GAIN = 3.0
"""Factor of the units."""


def by_another_scanner(
    image: NDArray[np.float32], zooms: NDArray[np.float64], seed: int
) -> NDArray[np.float32]:
    """A magnitude image (X, Y, Z) as if another scanner had made it: intensity curve, bias field,
    blur, resampling, noise and units.

    ``seed`` draws the bias field, the noise, and how the curve differs between sessions.
    """
    generator = np.random.default_rng(seed)
    high = float(np.percentile(image, REFERENCE_PERCENTILE))
    gamma = GAMMA + SESSION_GAMMA_SD * generator.standard_normal()
    changed = np.clip(image / high, 0, None) ** gamma
    centre = (np.asarray(image.shape) - 1) / 2
    axes = centred_axes(image.shape, zooms, centre)
    waves = random_waves(axes, generator, torch.device("cpu")).numpy()
    changed = changed * np.exp(BIAS_SD * waves / waves.std())
    sigma = BLUR_FWHM_MM / np.sqrt(8 * np.log(2)) / zooms
    changed = ndimage.gaussian_filter(changed, sigma)
    for shift in (np.array(SHIFT_VOXELS), -np.array(SHIFT_VOXELS)):
        changed = ndimage.shift(changed, shift, order=1, mode="nearest")
    noise = NOISE_FRACTION * generator.standard_normal((2, *image.shape))
    return (GAIN * high * np.hypot(changed + noise[0], noise[1])).astype(np.float32)
