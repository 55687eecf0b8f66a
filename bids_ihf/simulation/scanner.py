"""A simulated scanner: what its coils, k-space, noise and units make of an anatomy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from . import fields
from .protocol import VENDOR_PROTOCOLS, Modality, Protocol, jitter, random_protocol, signal
from .tissues import TISSUES, tissue

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from .anatomy import Anatomy

B1_KNOTS = np.linspace(0.5, 1.5, 21)  # where the signal is computed; a parabola joins them
SLAB = 16  # rows of the volume mixed at a time, which bounds the memory
NECK_MM = -85.0  # below the brain's centre: here the head coil has lost half its sensitivity
NECK_WIDTH_MM = 18.0


@frozen
class Scanner:
    """One scan's circumstances.

    protocol: the pulse sequence.
    field_seed: draws the shapes of the smooth fields; the head's position in the coil.
    receive_bias: standard deviation of the logarithm of the random part of the coil sensitivity.
    receive_edge: by how much the logarithm rises from the brain's centre to 90 mm from it.
    transmit_bias: transmit field at the centre against 90 mm from it, as a difference.
    psf: full width at half maximum in mm of the Gaussian blur along each array axis.
    acquired: share of each axis of k-space that is measured, 0 to 1; the rest is zero-filled.
    apodisation: 0 (none) to 1 (a Hann window over the measured part of k-space).
    noise: standard deviation in each of the two channels, relative to white matter.
    g_factor: by how much more the noise is at the brain's centre than far from it.
    texture_gain: multiplies the person's texture.
    gamma: exponent of the vendor's post-processing, with white matter held in place.
    units: the stored value of white matter where no field changes it.
    rounding: store whole numbers.
    """

    protocol: Protocol
    field_seed: int = 0
    receive_bias: float = 0.10
    receive_edge: float = 0.15
    transmit_bias: float = 0.20
    psf: tuple[float, float, float] = (0.8, 0.8, 0.8)
    acquired: tuple[float, float, float] = (1.0, 1.0, 1.0)
    apodisation: float = 0.3
    noise: float = 0.03
    g_factor: float = 0.4
    texture_gain: float = 1.0
    gamma: float = 1.0
    units: float = 500.0
    rounding: bool = True


def scan(anatomy: Anatomy, scanner: Scanner, seed: int) -> NDArray[np.float32]:
    """Image `anatomy`; (X, Y, Z) float32 on its grid, in the scanner's units, never negative.

    `seed` draws the thermal noise alone, so two seeds are a repeat scan.  The same arguments
    give the same bytes on a CPU with the same number of threads.
    """
    import torch

    with torch.inference_mode():
        device = anatomy.fractions.device
        rng = np.random.default_rng(scanner.field_seed)
        axes = fields.coordinates(anatomy.shape, anatomy.zooms, _brain_centre(anatomy))
        distance = fields.radius_squared(axes, device)
        transmit = fields.waves(axes, rng, device).mul_(0.15 * scanner.transmit_bias)
        transmit += 1 + scanner.transmit_bias * (0.45 - distance).clamp_(-1.0, 1.0)
        image = _contrast(anatomy, scanner, transmit.clamp_(0.5, 1.5))
        image *= _receive(scanner, axes, distance, rng, device)
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
    for start in range(0, transmit.shape[0], SLAB):
        rows = slice(start, start + SLAB)
        c = torch.einsum("ck,kxyz->cxyz", table, anatomy.fractions[:, rows])
        b = transmit[rows] - 1
        mean = c[0] + b * (c[1] + b * c[2])
        change = c[3] + b * (c[4] + b * c[5])
        image[rows] = mean + change * anatomy.texture[rows].clamp(-3.5, 3.5)
    return image.clamp_(min=0)


def _coefficients(scanner: Scanner) -> NDArray[np.float32]:
    """Six rows by K tissues: parabolas in (b1 - 1) of the signal and of its texture slope."""
    protocol = scanner.protocol
    white = float(signal(protocol, tissue("white")))
    table = np.empty((6, len(TISSUES)))
    for k, one in enumerate(TISSUES):
        mean = signal(protocol, one, B1_KNOTS) / white
        step = 0.5  # finite difference, in standard deviations of the texture
        high = signal(protocol, one, B1_KNOTS, texture=step) / white
        low = signal(protocol, one, B1_KNOTS, texture=-step) / white
        slope = scanner.texture_gain * (high - low) / (2 * step)
        for row, values in ((0, mean), (3, slope)):
            table[row : row + 3, k] = np.polynomial.polynomial.polyfit(B1_KNOTS - 1, values, 2)
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

    log = fields.waves(axes, rng, device).mul_(scanner.receive_bias)
    log += scanner.receive_edge * (distance.clamp(max=1.6) - 0.4)
    depth = (axes[2] * fields.REACH - NECK_MM) / NECK_WIDTH_MM
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
    k = fields.frequencies(tuple(shape), image.device)
    spectrum = torch.fft.rfftn(image)
    for axis in range(3):
        window = _window(k[axis], scanner.acquired[axis], scanner.apodisation)
        spectrum *= window * _blur(k[axis], scanner.psf[axis] / float(zooms[axis]))
    image = torch.fft.irfftn(spectrum, s=shape)
    if scanner.noise == 0:
        return image.abs_()
    generator = torch.Generator(device=image.device).manual_seed(seed)
    level = (1 + scanner.g_factor * torch.exp(-2 * distance)) * scanner.noise
    channels = []
    for _ in range(2):
        white = torch.randn(shape, generator=generator, device=image.device)
        channels.append(_filtered(white, k, scanner).mul_(level))
    return torch.hypot(image + channels[0], channels[1])


def _filtered(white: torch.Tensor, k: list[torch.Tensor], scanner: Scanner) -> torch.Tensor:
    """Noise as it leaves the k-space window; untouched when the window is open."""
    import torch

    if min(scanner.acquired) >= 1 and scanner.apodisation == 0:
        return white
    spectrum = torch.fft.rfftn(white)
    for axis in range(3):
        spectrum *= _window(k[axis], scanner.acquired[axis], scanner.apodisation)
    return torch.fft.irfftn(spectrum, s=white.shape)


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
    if scanner.gamma != 1:
        image = image.pow(scanner.gamma)
    image = image * scanner.units
    return image.round_() if scanner.rounding else image


# Typical values of our own choosing: Siemens with a pre-scan normalisation and moderate blur, GE with a
# stronger residual bias and Fermi-filtered zero-filling, Philips with CLEAR and less smoothing.
_VENDOR_TRAITS: dict[str, dict[str, float]] = {
    "Siemens": {"bias": 0.06, "edge": 0.10, "psf": 0.9, "acquired": 1.00, "apodisation": 0.20},
    "GE": {"bias": 0.14, "edge": 0.45, "psf": 0.7, "acquired": 0.86, "apodisation": 0.55},
    "Philips": {"bias": 0.09, "edge": -0.10, "psf": 1.1, "acquired": 0.94, "apodisation": 0.10},
}
_VENDOR_NOISE = {"Siemens": 0.030, "GE": 0.036, "Philips": 0.045}
_VENDOR_GAMMA = {"Siemens": 1.0, "GE": 0.92, "Philips": 1.06}
_VENDOR_UNITS: dict[tuple[str, Modality], float] = {
    ("Siemens", "T1w"): 380.0,
    ("Siemens", "T2w"): 210.0,
    ("GE", "T1w"): 5200.0,
    ("GE", "T2w"): 3100.0,
    ("Philips", "T1w"): 1150.0,
    ("Philips", "T2w"): 640.0,
}


def vendor_scanner(vendor: str, modality: Modality, seed: int) -> Scanner:
    """Return a typical scanner of "Siemens", "GE" or "Philips" with a scan's small changes."""
    rng = np.random.default_rng([seed, *vendor.encode(), *modality.encode()])
    traits = _VENDOR_TRAITS[vendor]

    def around(value: float, amount: float) -> float:
        return float(value * np.exp(amount * rng.standard_normal()))

    width = around(traits["psf"], 0.06)
    return Scanner(
        protocol=jitter(VENDOR_PROTOCOLS[vendor, modality], rng),
        field_seed=int(rng.integers(2**31)),
        receive_bias=around(traits["bias"], 0.15),
        receive_edge=around(traits["edge"], 0.15),
        transmit_bias=around(0.30, 0.12),
        psf=(width, width, width),
        acquired=(1.0, traits["acquired"], traits["acquired"]),
        apodisation=traits["apodisation"],
        noise=around(_VENDOR_NOISE[vendor], 0.10),
        g_factor=around(0.5, 0.15),
        gamma=around(_VENDOR_GAMMA[vendor], 0.01),
        units=around(_VENDOR_UNITS[vendor, modality], 0.08),
    )


def random_scanner(modality: Modality, seed: int) -> Scanner:
    """Draw a scanner from ranges far wider than those of the three vendors, for training."""
    rng = np.random.default_rng([seed, *modality.encode()])
    uniform = rng.uniform
    protocol = random_protocol(modality, rng)
    width = uniform(0.4, 2.4)
    stretch = np.exp(rng.normal(0, 0.15, 3))
    acquired = np.where(rng.random(3) < 0.5, 1.0, uniform(0.6, 1.0, 3))
    return Scanner(
        protocol=protocol,
        field_seed=int(rng.integers(2**31)),
        receive_bias=float(uniform(0.0, 0.30)),
        receive_edge=float(uniform(-0.3, 0.8)),
        transmit_bias=float(uniform(0.0, 0.4) * protocol.field_strength / 3.0),
        psf=tuple((width * stretch).tolist()),
        acquired=tuple(acquired.tolist()),
        apodisation=float(uniform(0.0, 1.0)),
        noise=float(np.exp(uniform(np.log(0.005), np.log(0.09)))),
        g_factor=float(uniform(0.0, 1.2)),
        texture_gain=float(uniform(0.5, 1.6)),
        gamma=float(np.exp(rng.normal(0, 0.15))),
        units=float(np.exp(uniform(np.log(80), np.log(20000)))),
        rounding=bool(rng.random() < 0.8),
    )
