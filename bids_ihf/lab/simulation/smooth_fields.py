"""Smooth random fields on a grid: coil sensitivity, transmit field, texture of a subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

COORDINATE_UNIT_MM = 90.0
"""Unit of the coordinates, mm: about the distance from the centre of the brain to its front."""

FWHM_PER_SIGMA = 2.3548
"""Full width at half maximum of a Gaussian, in standard deviations: 2 sqrt(2 ln 2)."""

WAVE_COUNT = 12
"""Cosines that are summed to a random field."""

MAX_CYCLES_PER_UNIT = 0.35
"""Highest spatial frequency of a random field along an axis, periods in 90 mm."""


def axis_shape(axis: int) -> tuple[int, int, int]:
    """Shape that broadcasts a vector along one axis of a volume.

    >>> axis_shape(1)
    (1, -1, 1)
    """
    return (-1 if axis == 0 else 1, -1 if axis == 1 else 1, -1 if axis == 2 else 1)


def centred_axes(
    shape: tuple[int, ...], zooms: NDArray[np.float64], centre: NDArray[np.float64]
) -> list[NDArray[np.float32]]:
    """Coordinates along the three axes: 0 at voxel ``centre`` and 1 at 90 mm from it.

    >>> centred_axes((3, 1, 1), np.array([90.0, 1.0, 1.0]), np.array([1.0, 0.0, 0.0]))[0]
    array([-1.,  0.,  1.], dtype=float32)
    """
    return [
        ((np.arange(n) - c) * z / COORDINATE_UNIT_MM).astype(np.float32)
        for n, z, c in zip(shape, zooms, centre, strict=True)
    ]


def random_waves(
    axes: list[NDArray[np.float32]], generator: np.random.Generator, device: torch.device
) -> torch.Tensor:
    """Random smooth field (X, Y, Z) with a standard deviation of about one.

    A sum of separable cosines: fast on any grid, and independent of its extent and voxel size.
    """
    factors = []
    for axis in axes:
        frequency = generator.uniform(0, 2 * np.pi * MAX_CYCLES_PER_UNIT, (WAVE_COUNT, 1))
        phase = generator.uniform(0, 2 * np.pi, (WAVE_COUNT, 1))
        factors.append(torch.from_numpy(np.cos(frequency * axis + phase).astype(np.float32)))
    weights = generator.standard_normal((WAVE_COUNT, 1)) * np.sqrt(8 / WAVE_COUNT)
    x, y, z = (factor.to(device) for factor in factors)
    x = x * torch.from_numpy(weights.astype(np.float32)).to(device)
    plane = x[:, :, None] * y[:, None, :]
    return torch.einsum("mxy,mz->xyz", plane, z)


def radius_squared(axes: list[NDArray[np.float32]], device: torch.device) -> torch.Tensor:
    """Squared distance (X, Y, Z) from the centre, in units of 90 mm."""
    x, y, z = (torch.from_numpy(axis**2).to(device) for axis in axes)
    return x[:, None, None] + y[None, :, None] + z[None, None, :]


def rfft_frequencies(shape: tuple[int, ...], device: torch.device) -> list[torch.Tensor]:
    """Frequencies of ``torch.fft.rfftn`` along each axis, cycles per voxel, ready to broadcast."""
    x = torch.fft.fftfreq(shape[0], device=device)[:, None, None]
    y = torch.fft.fftfreq(shape[1], device=device)[None, :, None]
    z = torch.fft.rfftfreq(shape[2], device=device)[None, None, :]
    return [x, y, z]


def gaussian_transfer(frequency: torch.Tensor, sigma: float) -> torch.Tensor:
    """Transfer function of a Gaussian along one axis, ``sigma`` in voxels."""
    return torch.exp(-2 * (np.pi * sigma) ** 2 * frequency**2)


def random_texture(
    shape: tuple[int, int, int],
    zooms: NDArray[np.float64],
    seed: int,
    *,
    scales_mm: tuple[float, ...] = (0.9, 2.2, 6.0),
) -> torch.Tensor:
    """White noise smoothed by several Gaussians and summed: mean 0, standard deviation 1.

    ``scales_mm`` are the standard deviations of the Gaussians; each contributes the same variance.
    """
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.rfftn(torch.randn(shape, generator=generator))
    frequencies = rfft_frequencies(shape, spectrum.device)
    transfer = torch.zeros(spectrum.shape)
    for scale in scales_mm:
        x, y, z = (
            gaussian_transfer(frequency, float(sigma))
            for frequency, sigma in zip(frequencies, scale / zooms, strict=True)
        )
        # Smoothing with a Gaussian of width s keeps a fraction of the variance that goes as s^-3.
        transfer += float(scale**1.5) * (x * y * z)
    field = torch.fft.irfftn(spectrum * transfer, s=shape)
    field -= field.mean()
    return field / field.std()
