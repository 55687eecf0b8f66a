"""What people do to an image before it is harmonized: by other tools, on the stored file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Mask = NDArray[np.bool_]

GREY_LEVELS_8_BIT = 255
"""Grey levels of an image with 8 bits, above 0."""

OVERCORRECTION_SIGMA_MM = 25.0
"""Width of the Gaussian by which bias correction takes tissue for bias."""


@frozen
class FileHistory:
    """Steps between the scanner's file and ours, in this order.

    bias_correction: 0 to 1, how far the smooth part of the brain's intensities is removed, as by a
        bias correction that takes anatomy for bias.
    denoising: standard deviation, in voxels, of the smoothing where the image is flat.
    resampling: fraction of a voxel by which the file was resampled, with linear interpolation.
    clipping: percentiles of the whole image to which it was clipped, the lower one then the new
        zero; None: not clipped.
    grey_levels: 0: as stored; else the grey levels of an 8-bit export.
    stripped: everything outside the brain set to 0, by a mask that many voxels larger than the
        brain (negative: smaller); None: not stripped.
    """

    bias_correction: float = 0.0
    denoising: float = 0.0
    resampling: tuple[float, float, float] = (0.0, 0.0, 0.0)
    clipping: tuple[float, float] | None = None
    grey_levels: int = 0
    stripped: int | None = None

    def apply(self, image: Image, brain: Mask, zooms: NDArray[np.float64]) -> Image:
        """The image (X, Y, Z), non-negative, with brain mask and voxel size (3,) in mm, after all
        steps."""
        if self.bias_correction:
            image = _overcorrected(image, brain, zooms, self.bias_correction)
        if self.denoising:
            image = _denoised(image, brain, self.denoising)
        if any(self.resampling):
            image = ndimage.shift(image, self.resampling, order=1, mode="nearest")
        if self.clipping is not None:
            low, high = np.percentile(image, self.clipping)
            image = np.clip(image - np.float32(low), 0, np.float32(high - low))
        if self.grey_levels:
            step = float(image.max()) / self.grey_levels or 1.0
            image = np.rint(image / step) * np.float32(step)
        if self.stripped is not None:
            image = np.where(_resized(brain, self.stripped), image, np.float32(0))
        return np.ascontiguousarray(image, dtype=np.float32)


def random_history(generator: np.random.Generator) -> FileHistory:
    """Most files are as stored; each step is done to one in six to one in ten."""

    def happens(probability: float) -> bool:
        return bool(generator.random() < probability)

    shift = generator.uniform(0, 1, 3)
    return FileHistory(
        bias_correction=float(generator.uniform(0.2, 0.8)) if happens(0.15) else 0.0,
        denoising=float(generator.uniform(0.5, 1.2)) if happens(0.1) else 0.0,
        resampling=tuple(shift.tolist()) if happens(0.15) else (0.0, 0.0, 0.0),
        clipping=(0.5, float(generator.uniform(99.0, 99.9))) if happens(0.1) else None,
        grey_levels=GREY_LEVELS_8_BIT if happens(0.1) else 0,
        stripped=int(generator.integers(-1, 4)) if happens(0.15) else None,
    )


def _overcorrected(
    image: Image, brain: Mask, zooms: NDArray[np.float64], fraction: float
) -> Image:
    """Divide by a power of the smoothed brain: what is left of anatomy at low frequency."""
    sigma = OVERCORRECTION_SIGMA_MM / zooms
    weight = ndimage.gaussian_filter(brain.astype(np.float32), sigma) + np.float32(1e-3)
    smooth = ndimage.gaussian_filter(np.where(brain, image, np.float32(0)), sigma) / weight
    inside = smooth[brain]
    if not inside.size or inside.mean() <= 0:
        return image
    field = np.clip(smooth / inside.mean(), 0.3, 3.0) ** np.float32(fraction)
    return image / field


def _denoised(image: Image, brain: Mask, sigma_voxels: float) -> Image:
    """Smooth where the image is flat and spare the edges, as non-local means does."""
    smooth = ndimage.gaussian_filter(image, sigma_voxels)
    if not brain.any():
        return smooth
    residual = image - smooth
    noise = 1.4826 * float(np.median(np.abs(residual[brain]))) + 1e-6
    edge = ndimage.gaussian_filter(residual**2, sigma_voxels) / np.float32((2 * noise) ** 2)
    return smooth + residual * (edge / (1 + edge))


def _resized(brain: Mask, voxels: int) -> Mask:
    if voxels == 0:
        return brain
    resize = ndimage.binary_dilation if voxels > 0 else ndimage.binary_erosion
    return np.asarray(resize(brain, iterations=abs(voxels)))
