"""From an anatomy to an image: contrast, coils, k-space, noise and units of one scanner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.protocol import tissue_signal
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX, tissue

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.scanner import Scanner

B1_KNOTS = np.linspace(0.5, 1.5, 21)
"""Where the signal is computed; a parabola joins them."""

ROWS_PER_SLAB = 16
"""Rows of the volume mixed at a time, which bounds the memory."""

NECK_HEIGHT_MM = (
    -85.0
)  # below the brain's centre: here the head coil has lost half its sensitivity
NECK_WIDTH_MM = 18.0


def scan(anatomy: Anatomy, scanner: Scanner, seed: int) -> NDArray[np.float32]:
    """Image `anatomy`; (X, Y, Z) float32 on its grid, in the scanner's units, never negative.

    `seed` draws the thermal noise alone, so two seeds are a repeat scan.  The same arguments
    give the same bytes on a CPU with the same number of threads.
    """
    import torch

    with torch.no_grad():
        device = anatomy.fractions.device
        rng = np.random.default_rng(scanner.field_seed)
        axes = smooth_fields.centred_axes(anatomy.shape, anatomy.zooms, _brain_centre(anatomy))
        distance = smooth_fields.radius_squared(axes, device)
        transmit = smooth_fields.random_waves(axes, rng, device).mul_(0.15 * scanner.transmit_bias)
        transmit += 1 + scanner.transmit_bias * (0.45 - distance).clamp_(-1.0, 1.0)
        image = _contrast(anatomy, scanner, transmit.clamp_(0.5, 1.5))
        image *= _receive(scanner, axes, distance, rng, device)
        if scanner.distortion:
            image = _distort(image, axes, distance, scanner.distortion)
        image = _measure(image, anatomy.zooms, scanner, distance, rng, seed)
        return _store(image, scanner).cpu().numpy()


def _brain_centre(anatomy: Anatomy) -> NDArray[np.float64]:
    """Mean voxel index of the brain along each axis; the middle of the grid without a brain."""
    brain = anatomy.brain
    total = float(brain.sum())
    if total == 0:
        return (np.asarray(anatomy.shape) - 1) / 2
    profiles = (brain.sum(dim=(1, 2)), brain.sum(dim=(0, 2)), brain.sum(dim=(0, 1)))
    means = [float((np.arange(len(p)) * p.cpu().numpy()).sum()) / total for p in profiles]
    return np.asarray(means)


def _contrast(anatomy: Anatomy, scanner: Scanner, transmit: torch.Tensor) -> torch.Tensor:
    """Noise-free, sharp image with white matter at one.

    The signal of each tissue is a parabola in the transmit field and linear in the texture, so
    the image is a matrix product of the tissue fractions with the six coefficients.
    """
    import torch

    table = torch.from_numpy(_coefficients(scanner)).to(transmit.device)
    image = torch.empty_like(transmit)
    for start in range(0, transmit.shape[0], ROWS_PER_SLAB):
        rows = slice(start, start + ROWS_PER_SLAB)
        c = torch.einsum("ck,kxyz->cxyz", table, anatomy.fractions[:, rows])
        b = transmit[rows] - 1
        mean = c[0] + b * (c[1] + b * c[2])
        change = c[3] + b * (c[4] + b * c[5])
        image[rows] = mean + change * anatomy.texture[rows].clamp(-3.5, 3.5)
    return image.clamp_(min=0)


def _coefficients(scanner: Scanner) -> NDArray[np.float32]:
    """Six rows by K tissues: parabolas in (b1 - 1) of the signal and of its texture slope."""
    protocol = scanner.protocol
    white = float(tissue_signal(protocol, tissue("white")))
    table = np.empty((6, len(SIMULATED_TISSUES)))
    for k, one in enumerate(SIMULATED_TISSUES):
        mean = tissue_signal(protocol, one, B1_KNOTS) / white
        step = 0.5  # finite difference, in standard deviations of the texture
        high = tissue_signal(protocol, one, B1_KNOTS, texture=step) / white
        low = tissue_signal(protocol, one, B1_KNOTS, texture=-step) / white
        slope = scanner.texture_gain * (high - low) / (2 * step)
        for row, values in ((0, mean), (3, slope)):
            table[row : row + 3, k] = np.polynomial.polynomial.polyfit(B1_KNOTS - 1, values, 2)
    table[:, TISSUE_INDEX["fat"]] *= scanner.fat
    return table.astype(np.float32)


def _receive(
    scanner: Scanner,
    axes: list[NDArray[np.float32]],
    distance: torch.Tensor,
    rng: np.random.Generator,
    device: torch.device,
) -> torch.Tensor:
    """Coil sensitivity, about one in the brain: random, higher at the edge, lost in the neck."""
    import torch

    log = smooth_fields.random_waves(axes, rng, device).mul_(scanner.receive_bias)
    log += scanner.receive_edge * (distance.clamp(max=1.6) - 0.4)
    depth = (axes[2] * smooth_fields.COORDINATE_UNIT_MM - NECK_HEIGHT_MM) / NECK_WIDTH_MM
    neck = torch.from_numpy(1 / (1 + np.exp(-depth)).astype(np.float32)).to(device)
    return log.exp_() * neck


def _measure(
    image: torch.Tensor,
    zooms: NDArray[np.float64],
    scanner: Scanner,
    distance: torch.Tensor,
    rng: np.random.Generator,
    seed: int,
) -> torch.Tensor:
    """Blur, measured part of k-space, and noise of the magnitude (Gudbjartsson & Patz 1995).

    The noise passes the same window as the signal, so it is correlated where k-space is
    zero-filled; its level is that before the window.
    """
    import torch

    shape = image.shape
    k = smooth_fields.rfft_frequencies(tuple(shape), image.device)
    spectrum = torch.fft.rfftn(image)
    for axis in range(3):
        spectrum *= _transfer(k[axis], axis, float(zooms[axis]), scanner)
    image = torch.fft.irfftn(spectrum, s=shape)
    if scanner.noise == 0:
        return image.abs_()
    # The field seed joins in, so that two scanners never share their noise.
    mixed = np.random.SeedSequence([seed, scanner.field_seed]).generate_state(1)[0]
    generator = torch.Generator(device=image.device).manual_seed(int(mixed))
    level = _noise_level(distance, scanner)
    channels = []
    for _ in range(2):
        white = torch.randn(shape, generator=generator, device=image.device)
        channels.append(_filtered(white, k, zooms, scanner).mul_(level))
    return torch.hypot(image + channels[0], channels[1])


def _noise_level(distance: torch.Tensor, scanner: Scanner) -> torch.Tensor:
    """Standard deviation of the noise: highest where coils are far, and where aliases overlap.

    Undersampling by R folds the head R times over itself; unfolding costs most in the bands where
    several layers meet (Pruessmann et al. 1999, Magn Reson Med 42:952), here a smooth stand-in
    for the geometry factor of real coils.
    """
    import torch

    folds = scanner.acceleration
    level = 1 + scanner.g_factor * torch.exp(-2 * distance)
    if folds > 1:
        n = distance.shape[scanner.accelerated_axis]
        place = torch.linspace(0, 1, n, device=distance.device)
        bands = (0.5 - 0.5 * torch.cos(2 * np.pi * folds * place)) * (folds - 1) / folds
        sides = [-1 if axis == scanner.accelerated_axis else 1 for axis in range(3)]
        level = level * (1 + scanner.g_factor * bands.reshape(sides))
    return level * scanner.noise


def _distort(
    image: torch.Tensor, axes: list[NDArray[np.float32]], distance: torch.Tensor, reach: float
) -> torch.Tensor:
    """Move every point along its radius by ``reach`` mm at 90 mm, with the cube of the distance.

    The lowest odd order that a gradient coil adds to a linear field (Janke et al. 2004, Magn Reson
    Med 52:115).
    """
    import torch
    from torch.nn import functional

    factor = 1 + distance * (reach / smooth_fields.COORDINATE_UNIT_MM)
    grid = torch.empty((*image.shape, 3), device=image.device)
    for axis, values in enumerate(axes):
        sides = [-1 if k == axis else 1 for k in range(3)]
        place = torch.from_numpy(values).to(image.device).reshape(sides) * factor
        low, high = float(values[0]), float(values[-1])
        grid[..., 2 - axis] = (place - low) * (2 / (high - low)) - 1
    moved = functional.grid_sample(
        image[None, None], grid[None], padding_mode="border", align_corners=True
    )
    return moved[0, 0]


def _filtered(
    white: torch.Tensor, k: list[torch.Tensor], zooms: NDArray[np.float64], scanner: Scanner
) -> torch.Tensor:
    """Noise as it leaves the k-space window; untouched when the window is open.

    Across thick slices it varies no faster than they do, and keeps its level.
    """
    import torch

    thick = scanner.thickness > float(zooms[scanner.slice_axis])
    if min(scanner.acquired) >= 1 and scanner.apodisation == 0 and not thick:
        return white
    spectrum = torch.fft.rfftn(white)
    for axis in range(3):
        spectrum *= _window(k[axis], scanner.acquired[axis], scanner.apodisation)
    if not thick:
        return torch.fft.irfftn(spectrum, s=white.shape)
    frequency = k[scanner.slice_axis]
    between = _between_slices(frequency, scanner, zooms)
    power = between.square().sum() / between.numel()
    if scanner.slice_axis == 2:  # a half spectrum: all but its ends stand for two
        power = (2 * between.square().sum() - between.square().flatten()[0]) / white.shape[2]
    return torch.fft.irfftn(spectrum * (between / power.sqrt()), s=white.shape)


def _between_slices(
    frequency: torch.Tensor, scanner: Scanner, zooms: NDArray[np.float64]
) -> torch.Tensor:
    """Transfer function of linear interpolation between thick slices."""
    import torch

    ratio = scanner.thickness / float(zooms[scanner.slice_axis])
    return torch.sinc(frequency * ratio) ** 2


def _transfer(frequency: torch.Tensor, axis: int, zoom: float, scanner: Scanner) -> torch.Tensor:
    """What one axis of the signal's spectrum keeps: k-space window, blur, slice profile.

    Thick slices are seen as on a 1 mm grid: averaged over their box, then interpolated between
    their centres; what they alias is left out.
    """
    import torch

    kept = _window(frequency, scanner.acquired[axis], scanner.apodisation)
    kept = kept * _blur(frequency, scanner.psf[axis] / zoom)
    if axis == scanner.slice_axis and scanner.thickness > zoom:
        kept = kept * torch.sinc(frequency * (scanner.thickness / zoom)) ** 3
    return kept


def _window(frequency: torch.Tensor, acquired: float, apodisation: float) -> torch.Tensor:
    """Measured part of one axis of k-space, softened towards its edge."""
    import torch

    reach = 0.5 * acquired
    inside = (frequency.abs() <= reach + 1e-6).float()
    hann = 0.5 * (1 + torch.cos(np.pi * (frequency / reach).clamp(-1, 1)))
    return inside * (1 - apodisation * (1 - hann))


def _blur(frequency: torch.Tensor, width: float) -> torch.Tensor:
    """Transfer function of a Gaussian of full width at half maximum `width` voxels."""
    import torch

    sigma = width / 2.3548
    return torch.exp(-2 * (np.pi * sigma) ** 2 * frequency**2)


def _store(image: torch.Tensor, scanner: Scanner) -> torch.Tensor:
    """The vendor's post-processing and number format."""
    if scanner.sharpening:
        image = _sharpened(image, scanner.sharpening).clamp_(min=0)
    if scanner.gamma != 1:
        image = image.pow(scanner.gamma)
    image = image.clamp(max=scanner.ceiling)
    if scanner.levels:
        step = float(image.max()) / scanner.levels
        image = (image / step).round_() * step
    image = image * scanner.units
    return image.round_() if scanner.rounding and not scanner.levels else image


def _sharpened(image: torch.Tensor, amount: float) -> torch.Tensor:
    """Add a share of what a 3 x 3 x 3 mean takes away; a negative share smooths."""
    from torch.nn import functional

    mean = functional.avg_pool3d(
        functional.pad(image[None, None], (1,) * 6, mode="replicate"), 3, stride=1
    )
    return image + amount * (image - mean[0, 0])
