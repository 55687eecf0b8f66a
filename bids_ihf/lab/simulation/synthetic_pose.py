"""Random position, size and shape of a head in the box of the segmentation network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from bids_ihf.preprocessing.segmentation import SEGMENTATION_VOXEL_MM

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def random_pose(
    centre: NDArray[np.float64], box_size: int, rng: np.random.Generator, noise: torch.Generator
) -> tuple[Tensor, NDArray[np.float64]]:
    """Voxel of the head, 1 mm, at each voxel of the box (S, S, S, 3), and the linear part (3, 3).

    Rotated by up to 45 degrees, at times by right angles or mirrored, as wrong headers do; scaled,
    deformed by a few mm, and shifted from ``centre``, the voxel of the brain's centre.
    """
    max_angle = 45.0 if rng.random() < 0.3 else 15.0
    angles = rng.uniform(-max_angle, max_angle, 3)
    linear = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    linear = linear @ np.diag(np.exp(rng.uniform(-0.22, 0.22) + rng.normal(0, 0.05, 3)))
    if rng.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0, 1.0])
    if rng.random() < 0.1:
        linear = linear @ (np.eye(3)[rng.permutation(3)] * rng.choice((-1.0, 1.0), 3))
    shift = rng.normal(0, 35.0 if rng.random() < 0.3 else 8.0, 3)
    steps = torch.arange(box_size, dtype=torch.float32) - (box_size - 1) / 2
    box = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1)
    matrix = torch.from_numpy(linear.astype(np.float32))
    coordinates = (box * SEGMENTATION_VOXEL_MM) @ matrix.T
    coordinates = coordinates + torch.from_numpy((centre + shift).astype(np.float32))
    for knots, max_sd in ((5, 5.0), (11, 2.5)):
        displacement = torch.randn(1, 3, knots, knots, knots, generator=noise)
        displacement = displacement * rng.uniform(0, max_sd)
        smooth = F.interpolate(displacement, (box_size,) * 3, mode="trilinear", align_corners=True)
        coordinates += smooth[0].permute(1, 2, 3, 0)
    return coordinates, linear


def sample_volumes(
    volumes: Tensor, coordinates: Tensor, offset: NDArray[np.float64] | None = None
) -> Tensor:
    """Interpolate (C, X, Y, Z) linearly at voxel coordinates (S, S, S, 3); 0 outside."""
    size = torch.tensor(volumes.shape[1:], dtype=torch.float32)
    shift = torch.from_numpy((np.zeros(3) if offset is None else offset).astype(np.float32))
    unit = 2 * (coordinates + shift) / (size - 1) - 1
    return F.grid_sample(volumes[None], unit.flip(-1)[None], align_corners=True)[0]
