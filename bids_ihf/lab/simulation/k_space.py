"""What the acquisition in k-space does to an image: blur, zero-filling, slices and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from bids_ihf.lab.simulation.smooth_fields import (
    FWHM_PER_SIGMA,
    axis_shape,
    gaussian_transfer,
    rfft_frequencies,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.scanner import Scanner


def acquire(
    image: torch.Tensor,
    zooms: NDArray[np.float64],
    scanner: Scanner,
    radius_squared: torch.Tensor,
    seed: int,
) -> torch.Tensor:
    """Blur an image (X, Y, Z), restrict it to the acquired k-space, and add noise.

    The magnitude of two Gaussian channels is Rician (Gudbjartsson & Patz 1995, Magn Reson Med
    34:910).  The noise passes the same window as the signal, so it is correlated where k-space is
    zero-filled; its standard deviation is that before the window.

    Parameters
    ----------
    zooms
        Voxel size (3,), mm.
    radius_squared
        Squared distance from the brain's centre (X, Y, Z), in units of 90 mm.
    seed
        Draws the noise, together with the scanner's ``field_seed``.
    """
    shape = image.shape
    frequencies = rfft_frequencies(tuple(shape), image.device)
    spectrum = torch.fft.rfftn(image)
    for axis in range(3):
        spectrum *= _signal_transfer(frequencies[axis], axis, float(zooms[axis]), scanner)
    if scanner.elliptical:
        spectrum *= _ellipse(frequencies, zooms, scanner)
    image = torch.fft.irfftn(spectrum, s=shape)
    if scanner.noise == 0:
        return image.abs_()
    # Two scanners never share their noise, whatever the seed.
    mixed = np.random.SeedSequence([seed, scanner.field_seed]).generate_state(1)[0]
    generator = torch.Generator(device=image.device).manual_seed(int(mixed))
    level = _noise_level(radius_squared, scanner)
    channels = []
    for _ in range(2):
        white = torch.randn(shape, generator=generator, device=image.device)
        channels.append(_filter_noise(white, frequencies, zooms, scanner).mul_(level))
    return torch.hypot(image + channels[0], channels[1])


def _noise_level(radius_squared: torch.Tensor, scanner: Scanner) -> torch.Tensor:
    """Standard deviation of the noise: highest far from the coils, and where aliases overlap.

    Undersampling by R folds the head R times over itself; unfolding costs most in the bands where
    several layers meet (Pruessmann et al. 1999, Magn Reson Med 42:952).  A smooth approximation
    of the geometry factor of real coils.
    """
    level = 1 + scanner.g_factor * torch.exp(-2 * radius_squared)
    for axis, folds in enumerate(scanner.acceleration):
        if folds > 1:
            size, device = radius_squared.shape[axis], radius_squared.device
            position = torch.linspace(0, 1, size, device=device)
            bands = (0.5 - 0.5 * torch.cos(2 * np.pi * folds * position)) * (folds - 1) / folds
            level = level * (1 + scanner.g_factor * bands.reshape(axis_shape(axis)))
    return level * scanner.noise


def _filter_noise(
    white: torch.Tensor,
    frequencies: list[torch.Tensor],
    zooms: NDArray[np.float64],
    scanner: Scanner,
) -> torch.Tensor:
    """White noise after the k-space window; unchanged where the window is open.

    Across thick slices it varies no faster than they do, and keeps its standard deviation.
    """
    axis = scanner.slice_axis
    thick = scanner.slice_spacing > float(zooms[axis])
    acquired = [acquired_fraction(scanner, k, float(zooms[k])) for k in range(3)]
    full = min(acquired) >= 1 and scanner.partial_fourier >= 1 and not scanner.elliptical
    if full and scanner.apodisation == 0 and not thick:
        return white
    spectrum = torch.fft.rfftn(white)
    for k in range(3):
        spectrum *= _window(frequencies[k], k, acquired[k], scanner)
    if scanner.elliptical:
        spectrum *= _ellipse(frequencies, zooms, scanner)
    if not thick:
        return torch.fft.irfftn(spectrum, s=white.shape)
    # Linear interpolation between the centres of the slices.
    transfer = torch.sinc(frequencies[axis] * (scanner.slice_spacing / float(zooms[axis]))) ** 2
    power = transfer.square().sum() / transfer.numel()
    if axis == 2:  # a half spectrum: all but its first and last value stand for two
        power = (2 * transfer.square().sum() - transfer.square().flatten()[0]) / white.shape[2]
    return torch.fft.irfftn(spectrum * (transfer / power.sqrt()), s=white.shape)


def acquired_fraction(scanner: Scanner, axis: int, zoom: float) -> float:
    """Acquired fraction of an axis of k-space on a grid of voxels of ``zoom`` mm.

    >>> from bids_ihf.lab.simulation.populations import typical_protocol
    >>> from bids_ihf.lab.simulation.scanner import Scanner
    >>> scanner = Scanner(typical_protocol("GE", "T1w"), pixel=(0.0, 2.0, 0.5))
    >>> [acquired_fraction(scanner, axis, 1.0) for axis in range(3)]
    [1.0, 0.5, 1.0]
    """
    return min(1.0, zoom / scanner.pixel[axis]) if scanner.pixel[axis] > 0 else 1.0


def _signal_transfer(
    frequency: torch.Tensor, axis: int, zoom: float, scanner: Scanner
) -> torch.Tensor:
    """Transfer function of one axis: k-space window, point spread and slice profile.

    Thick slices appear as on the grid of the anatomy: averaged over a box, then interpolated
    linearly between their centres; aliasing is neglected.
    """
    transfer = _window(frequency, axis, acquired_fraction(scanner, axis, zoom), scanner)
    transfer = transfer * gaussian_transfer(frequency, scanner.psf[axis] / zoom / FWHM_PER_SIGMA)
    if axis == scanner.slice_axis and scanner.thickness > zoom:
        transfer = transfer * torch.sinc(frequency * (scanner.thickness / zoom))
    if axis == scanner.slice_axis and scanner.slice_spacing > zoom:
        transfer = transfer * torch.sinc(frequency * (scanner.slice_spacing / zoom)) ** 2
    return transfer


def _window(frequency: torch.Tensor, axis: int, acquired: float, scanner: Scanner) -> torch.Tensor:
    """Acquired part of one axis of k-space, attenuated towards its edge.

    With partial Fourier one side is not acquired beyond a fraction; of a real object the mean of
    both sides remains, half of the signal.
    """
    edge = 0.5 * acquired
    inside = (frequency.abs() <= edge + 1e-6).float()
    if axis == scanner.phase_axis and scanner.partial_fourier < 1:
        both_sides = frequency.abs() <= (2 * scanner.partial_fourier - 1) * edge
        inside = inside * (0.5 + 0.5 * both_sides.float())
    hann = 0.5 * (1 + torch.cos(np.pi * (frequency / edge).clamp(-1, 1)))
    return inside * (1 - scanner.apodisation * (1 - hann))


def _ellipse(
    frequencies: list[torch.Tensor], zooms: NDArray[np.float64], scanner: Scanner
) -> torch.Tensor:
    """1 inside the ellipse that is acquired in the plane of both phase encodings, else 0."""
    radius_squared = torch.zeros(1, device=frequencies[0].device)
    for axis in (scanner.phase_axis, scanner.slice_axis):
        edge = 0.5 * acquired_fraction(scanner, axis, float(zooms[axis]))
        radius_squared = radius_squared + (frequencies[axis] / edge) ** 2
    return (radius_squared <= 1 + 1e-6).float()
