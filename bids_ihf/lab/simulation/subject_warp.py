"""The smooth map that makes one person of the template head, and sampling through it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

LATTICE_SPACING_VOXELS = 4
"""Voxels between the points where the smooth map is computed."""

WAVE_COUNT = 10
MIN_WAVELENGTH_MM = (
    160.0  # wavelength along an axis; with 2.5 mm displacements the map cannot fold
)
VENTRICLE_CENTRE_MM, VENTRICLE_SIGMA_MM = (0.0, -14.0, 14.0), 26.0


def random_subject_warp(seed: int) -> Callable[[Points], Points]:
    """Return the map from a person's world points (..., 3) in mm to the template's.

    Sizes differ by some per cent along each axis, a sum of long waves displaces by a few mm, and
    the ventricles' surroundings grow or shrink.  Its slope stays well below one: it is invertible.
    """
    rng = np.random.default_rng([seed, 77])
    scale = 1 + rng.normal(0, 0.03) + rng.normal(0, 0.015, 3)
    waves = rng.uniform(-1, 1, (WAVE_COUNT, 3)) * 2 * np.pi / MIN_WAVELENGTH_MM
    phases = rng.uniform(0, 2 * np.pi, WAVE_COUNT)
    directions = rng.normal(0, 2.5 * np.sqrt(2 / WAVE_COUNT), (WAVE_COUNT, 3))
    growth = rng.uniform(-0.15, 0.30)

    def to_template(points: Points) -> Points:
        moved = points * scale
        moved = moved + np.cos(points @ waves.T + phases) @ directions
        offset = points - np.asarray(VENTRICLE_CENTRE_MM)
        near = np.exp(-(offset**2).sum(axis=-1, keepdims=True) / (2 * VENTRICLE_SIGMA_MM**2))
        return np.asarray(moved - growth * near * offset)

    return to_template


def warp_lattice(
    shape: tuple[int, int, int], affine: Points, transform: Callable[[Points], Points]
) -> torch.Tensor:
    """Map the voxels of a grid: (3, X', Y', Z') coordinates on every fourth voxel."""
    import torch

    axes = [np.linspace(0, n - 1, (n - 1) // LATTICE_SPACING_VOXELS + 2) for n in shape]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    mapped = transform(voxels @ affine[:3, :3].T + affine[:3, 3])
    return torch.from_numpy(np.moveaxis(mapped, -1, 0).astype(np.float32))


def sample_lattice(
    maps: torch.Tensor, source: Points, points: torch.Tensor, shape: tuple[int, int, int]
) -> torch.Tensor:
    """Interpolate maps (C, ...) of affine `source` at a lattice; (C, *shape), zero outside.

    The lattice is brought to full resolution linearly, a few rows at a time to bound the memory.
    """
    import torch
    from torch.nn import functional

    inverse = np.linalg.inv(source)
    size = torch.tensor(maps.shape[1:], dtype=torch.float32)
    voxels = torch.einsum("ij,jxyz->ixyz", torch.from_numpy(inverse[:3, :3]).float(), points)
    voxels += torch.from_numpy(inverse[:3, 3]).float()[:, None, None, None]
    unit = 2 * voxels / (size[:, None, None, None] - 1) - 1  # grid_sample's -1 to 1
    across = functional.interpolate(
        unit.permute(1, 0, 2, 3), size=shape[1:], mode="bilinear", align_corners=True
    ).permute(1, 0, 2, 3)
    along = torch.linspace(0, across.shape[1] - 1, shape[0])
    low = along.floor().long().clamp(max=across.shape[1] - 2)
    part = (along - low)[None, :, None, None]
    result = torch.empty((maps.shape[0], *shape))
    for start, stop in pairwise([*range(0, shape[0], 16), shape[0]]):
        rows = slice(start, stop)
        grid = torch.lerp(across[:, low[rows]], across[:, low[rows] + 1], part[:, rows])
        grid = grid.permute(1, 2, 3, 0).flip(-1)[None]
        result[:, rows] = functional.grid_sample(maps[None], grid, align_corners=True)[0]
    return result
