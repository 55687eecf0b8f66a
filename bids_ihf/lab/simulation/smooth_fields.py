"""Smooth fields over a grid: coil sensitivities, transmit field, person's texture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

COORDINATE_UNIT_MM = (
    90.0  # mm from the centre of the brain to its front: the unit of the coordinates
)


def centred_axes(
    shape: tuple[int, ...], zooms: NDArray[np.float64], centre: NDArray[np.float64]
) -> list[NDArray[np.float32]]:
    """Three axes of coordinates, 0 at voxel `centre` and 1 at 90 mm from it."""
    return [
        ((np.arange(n) - c) * z / COORDINATE_UNIT_MM).astype(np.float32)
        for n, z, c in zip(shape, zooms, centre, strict=True)
    ]


def random_waves(
    axes: list[NDArray[np.float32]],
    generator: np.random.Generator,
    device: torch.device,
    *,
    terms: int = 12,
    cycles: float = 0.35,
) -> torch.Tensor:
    """Random smooth field of about unit standard deviation.

    A sum of separable cosines with at most `cycles` periods in 90 mm along an axis; cheap on
    any grid and independent of its box and voxel size.
    """
    import torch

    factors = []
    for axis in axes:
        wave = generator.uniform(0, 2 * np.pi * cycles, (terms, 1))
        phase = generator.uniform(0, 2 * np.pi, (terms, 1))
        factors.append(torch.from_numpy(np.cos(wave * axis + phase).astype(np.float32)))
    weights = generator.standard_normal((terms, 1)) * np.sqrt(8 / terms)
    x, y, z = (factor.to(device) for factor in factors)
    x = x * torch.from_numpy(weights.astype(np.float32)).to(device)
    plane = x[:, :, None] * y[:, None, :]
    return torch.einsum("mxy,mz->xyz", plane, z)


def radius_squared(axes: list[NDArray[np.float32]], device: torch.device) -> torch.Tensor:
    """Squared distance from the centre, in units of 90 mm, over the grid."""
    import torch

    x, y, z = (torch.from_numpy(axis**2).to(device) for axis in axes)
    return x[:, None, None] + y[None, :, None] + z[None, None, :]


def rfft_frequencies(shape: tuple[int, ...], device: torch.device) -> list[torch.Tensor]:
    """Frequencies of torch.fft.rfftn along each axis in cycles per voxel, shaped to broadcast."""
    import torch

    x = torch.fft.fftfreq(shape[0], device=device)[:, None, None]
    y = torch.fft.fftfreq(shape[1], device=device)[None, :, None]
    z = torch.fft.rfftfreq(shape[2], device=device)[None, None, :]
    return [x, y, z]


def random_texture(
    shape: tuple[int, int, int],
    zooms: NDArray[np.float64],
    seed: int,
    *,
    scales: tuple[float, ...] = (0.9, 2.2, 6.0),
) -> torch.Tensor:
    """White noise smoothed by Gaussians of several widths (standard deviations in mm) and summed.

    Each scale gives the same variance; the sum has mean 0 and standard deviation 1.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.rfftn(torch.randn(shape, generator=generator))
    k = rfft_frequencies(shape, spectrum.device)
    transfer = torch.zeros(spectrum.shape)
    for scale in scales:
        gaussian = _gaussian(k, scale / zooms)
        # A Gaussian of width s leaves a share of the variance that goes with s^-3.
        transfer += float(scale**1.5) * gaussian
    field = torch.fft.irfftn(spectrum * transfer, s=shape)
    field -= field.mean()
    return field / field.std()


def _gaussian(k: list[torch.Tensor], sigmas: NDArray[np.float64]) -> torch.Tensor:
    import torch

    parts = [
        torch.exp(-2 * (np.pi * float(s)) ** 2 * f**2) for f, s in zip(k, sigmas, strict=True)
    ]
    return parts[0] * parts[1] * parts[2]
