"""What happens to a synthetic head before the segmentation network sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from bids_ihf.lab.simulation.smooth_fields import axis_shape
from bids_ihf.lab.simulation.synthetic_pose import sample_volumes
from bids_ihf.preprocessing.segmentation import SEGMENTATION_VOXEL_MM, unit_range

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

BACKGROUND_FRACTIONS = torch.tensor([1.0, 0, 0, 0])
"""Fractions of a voxel outside the field of view."""


def add_lesions(
    image: Tensor, white: Tensor, rng: np.random.Generator, noise: torch.Generator
) -> Tensor:
    """In 30 % of the images, give patches of white matter another intensity."""
    if rng.random() > 0.3:
        return image
    coarse = torch.randn(1, 1, *(n // 3 for n in image.shape), generator=noise)
    smooth = F.interpolate(coarse, image.shape, mode="trilinear", align_corners=True)[0, 0]
    weight = ((smooth - rng.uniform(1.3, 2.0)) * 4).clamp(0, 1) * white
    return image + weight * (float(rng.uniform(0, 1)) * image.max() - image)


def acquire(
    image: Tensor, brain_mean: float, rng: np.random.Generator, noise: torch.Generator
) -> Tensor:
    """Texture, coil sensitivity, blur, thick slices, and Rician noise relative to the mean
    intensity of the brain."""
    shape = image.shape
    image = image * (1 + rng.uniform(0, 0.08) * torch.randn(shape, generator=noise))
    knots = torch.randn(1, 1, 4, 4, 4, generator=noise) * rng.uniform(0, 0.3)
    log_field = F.interpolate(knots, shape, mode="trilinear", align_corners=True)[0, 0]
    image = image * log_field.exp()
    if rng.random() < 0.4:
        sigma = rng.uniform(0, 0.7)
        image = torch.from_numpy(ndimage.gaussian_filter(image.numpy(), sigma))
    if rng.random() < 0.25:
        axis, thickness = int(rng.integers(3)), rng.uniform(1.0, 3.0)
        sizes = [round(n / thickness) if k == axis else n for k, n in enumerate(shape)]
        slices = F.interpolate(image[None, None], sizes, mode="area")
        image = F.interpolate(slices, shape, mode="trilinear")[0, 0]
    level = brain_mean * float(np.exp(rng.uniform(np.log(0.01), np.log(0.12))))
    real, imaginary = torch.randn(2, *shape, generator=noise) * level
    return torch.hypot(image + real, imaginary)


def crop(
    image: Tensor,
    fractions: Tensor,
    coordinates: Tensor,
    centre: NDArray[np.float64],
    index: Tensor,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Skull-strip, deface, zero the background, or restrict the field of view.

    Parameters
    ----------
    image, fractions
        Image (S, S, S) and fractions (4, S, S, S) of a sample.
    coordinates
        Voxels of the head (S, S, S, 3) at those of the box.
    centre
        Voxel (3,) of the brain's centre in the head.
    index
        Tissue mixtures (X, Y, Z) of the head, of which 0 is air.
    """
    choice, background = rng.random(), fractions[0]
    if choice < 0.25:
        rim_mm = float(rng.uniform(0.0, 3.0))
        distance = ndimage.distance_transform_edt(background.numpy() > 0.5) * SEGMENTATION_VOXEL_MM
        image = torch.where(torch.from_numpy(distance <= rim_mm), image, 0.0)
    elif choice < 0.4:
        slope = np.deg2rad(rng.uniform(0, 60))
        forward = torch.tensor([0.0, np.cos(slope), -np.sin(slope)], dtype=torch.float32)
        anterior = (coordinates - torch.from_numpy(centre.astype(np.float32))) @ forward
        face = (anterior > rng.uniform(45, 80)) & (background > 0.98)
        image = torch.where(face, 0.0, image)
    elif choice < 0.55:
        air = sample_volumes((index == 0).float()[None], coordinates)[0] > 0.5
        image = torch.where(air, 0.0, image)
    if rng.random() < 0.2:
        axis = int(rng.integers(3))
        slab = _field_of_view(background, axis, rng)
        image = torch.where(slab, image, 0.0)
        fractions = torch.where(slab, fractions, BACKGROUND_FRACTIONS[:, None, None, None])
    return image, fractions


def _field_of_view(background: Tensor, axis: int, rng: np.random.Generator) -> Tensor:
    """Slices along an axis that are acquired: at least 20 mm of the brain."""
    plane = tuple(k for k in range(3) if k != axis)
    filled = np.flatnonzero((background < 0.5).any(dim=plane[1]).any(dim=plane[0]).numpy())
    acquired = torch.zeros(background.shape[axis], dtype=torch.bool)
    if filled.size:
        first = int(rng.integers(filled[0] - 15, max(filled[-1] - 10, filled[0] + 1)))
        acquired[max(first, 0) : first + int(rng.integers(15, 80))] = True
    return acquired.reshape(axis_shape(axis))


def normalize(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Scale to the range of the network, with a random gain and gamma."""
    scaled = unit_range(image) * np.float32(rng.uniform(0.6, 1.1))
    return np.clip(scaled, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.2)))
