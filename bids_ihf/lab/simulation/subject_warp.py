"""The smooth map between a virtual subject and the template head, and sampling through it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Points = NDArray[np.float64]

LATTICE_SPACING_VOXELS = 4
"""Spacing of the lattice on which the smooth map is computed, voxels."""

WARP_WAVE_COUNT = 10
"""Waves that are summed to a displacement."""

DISPLACEMENT_SD_MM = 2.5
"""Standard deviation of the displacement along each axis, mm."""

MIN_WAVELENGTH_MM = 160.0
"""Shortest wavelength along an axis, mm: with displacements of 2.5 mm the map cannot fold."""

VENTRICLE_CENTRE_MM, VENTRICLE_SIGMA_MM = (0.0, -14.0, 14.0), 26.0
"""Gaussian region that grows or shrinks with the ventricles, template space."""

ROWS_PER_BLOCK = 16
"""Rows of the volume that are sampled at a time, which limits the memory."""


def random_subject_warp(seed: int) -> Callable[[Points], Points]:
    """The map from world points (..., 3) of a subject, mm, to those of the template head.

    Sizes differ by some per cent along each axis, a sum of long waves displaces by a few mm, and
    the region of the ventricles grows or shrinks.  Its slope stays well below one, so the map is
    invertible.
    """
    rng = np.random.default_rng([seed, 77])
    scale = 1 + rng.normal(0, 0.03) + rng.normal(0, 0.015, 3)
    waves = rng.uniform(-1, 1, (WARP_WAVE_COUNT, 3)) * 2 * np.pi / MIN_WAVELENGTH_MM
    phases = rng.uniform(0, 2 * np.pi, WARP_WAVE_COUNT)
    amplitude = DISPLACEMENT_SD_MM * np.sqrt(2 / WARP_WAVE_COUNT)
    directions = rng.normal(0, amplitude, (WARP_WAVE_COUNT, 3))
    growth = rng.uniform(-0.15, 0.30)

    def to_template(points: Points) -> Points:
        warped = points * scale
        warped = warped + np.cos(points @ waves.T + phases) @ directions
        offset = points - np.asarray(VENTRICLE_CENTRE_MM)
        distance_squared = (offset**2).sum(axis=-1, keepdims=True)
        weight = np.exp(-distance_squared / (2 * VENTRICLE_SIGMA_MM**2))
        return np.asarray(warped - growth * weight * offset)

    return to_template


def warp_lattice(
    shape: tuple[int, int, int], affine: Points, transform: Callable[[Points], Points]
) -> torch.Tensor:
    """Mapped world coordinates (3, X', Y', Z') of a grid, on every fourth voxel."""
    axes = [np.linspace(0, n - 1, (n - 1) // LATTICE_SPACING_VOXELS + 2) for n in shape]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    mapped = transform(voxels @ affine[:3, :3].T + affine[:3, 3])
    return torch.from_numpy(np.moveaxis(mapped, -1, 0).astype(np.float32))


def sample_lattice(
    maps: torch.Tensor, affine: Points, points: torch.Tensor, shape: tuple[int, int, int]
) -> torch.Tensor:
    """Interpolate maps (C, ...) with an ``affine`` at a lattice of points; (C, *shape), 0 outside.

    The lattice is interpolated linearly to full resolution, a few rows at a time.
    """
    inverse = np.linalg.inv(affine)
    size = torch.tensor(maps.shape[1:], dtype=torch.float32)
    voxels = torch.einsum("ij,jxyz->ixyz", torch.from_numpy(inverse[:3, :3]).float(), points)
    voxels += torch.from_numpy(inverse[:3, 3]).float()[:, None, None, None]
    unit = 2 * voxels / (size[:, None, None, None] - 1) - 1  # -1 to 1, as of grid_sample
    planes = functional.interpolate(
        unit.permute(1, 0, 2, 3), size=shape[1:], mode="bilinear", align_corners=True
    ).permute(1, 0, 2, 3)
    rows = torch.linspace(0, planes.shape[1] - 1, shape[0])
    low = rows.floor().long().clamp(max=planes.shape[1] - 2)
    weight = (rows - low)[None, :, None, None]
    sampled = torch.empty((maps.shape[0], *shape))
    for start, stop in pairwise([*range(0, shape[0], ROWS_PER_BLOCK), shape[0]]):
        block = slice(start, stop)
        grid = torch.lerp(planes[:, low[block]], planes[:, low[block] + 1], weight[:, block])
        grid = grid.permute(1, 2, 3, 0).flip(-1)[None]
        sampled[:, block] = functional.grid_sample(maps[None], grid, align_corners=True)[0]
    return sampled
