"""Scanners for anatomical images: typical ones of the three vendors, and random ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.simulation.protocol import VENDOR_PROTOCOLS
from bids_ihf.lab.simulation.random_protocols import random_protocol, vary_calibration
from bids_ihf.lab.simulation.signal_equations import brain_contrast

if TYPE_CHECKING:
    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.protocol import Protocol


@frozen
class Scanner:
    """A scanner with the protocol and the circumstances of one scan.

    protocol: the pulse sequence.
    field_seed: draws the shapes of the smooth fields (position of the head in the coil).
    receive_bias: standard deviation of the logarithm of the random part of the coil sensitivity.
    receive_edge: increase of that logarithm from the centre of the brain to 90 mm from it.
    transmit_bias: relative transmit field at the centre minus that 90 mm from it.
    psf: full width at half maximum in mm of the Gaussian blur along each array axis.
    acquired: acquired fraction of each axis of k-space, 0 to 1; the rest is zero-filled.
    apodisation: 0 (none) to 1 (a Hann window over the acquired part of k-space).
    noise: standard deviation in each of the two channels, relative to white matter.
    g_factor: relative increase of the noise at the centre of the brain.
    acceleration: of parallel imaging along ``accelerated_axis``; its aliases amplify the noise.
    accelerated_axis: array axis of the phase encoding.
    thickness: of the slices across ``slice_axis`` in mm; 0 is that of the grid of the anatomy.
    slice_axis: array axis across the slices.
    distortion: residual of the correction of gradient nonlinearity, mm at 90 mm from the centre.
    texture_gain: factor of the texture of the subject.
    fat: fraction of the signal of fat that water excitation or fat suppression leaves, 0 to 1.
    gamma: exponent of the post-processing, with white matter fixed.
    sharpening: fraction of an unsharp mask that the post-processing adds.
    ceiling: signal, relative to white matter, at which the stored image saturates.
    units: the stored value of white matter where no field changes it.
    rounding: store integers.
    levels: grey levels of the stored image up to its brightest voxel, as 8-bit exports; 0: all.
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
    acceleration: float = 1.0
    accelerated_axis: int = 1
    thickness: float = 0.0
    slice_axis: int = 2
    distortion: float = 0.0
    texture_gain: float = 1.0
    fat: float = 1.0
    gamma: float = 1.0
    sharpening: float = 0.0
    ceiling: float = math.inf
    units: float = 500.0
    rounding: bool = True
    levels: int = 0


@frozen
class VendorTraits:
    """Typical values of a vendor's scanners, with the fields of `Scanner` of the same names.

    units: of T1w, then of T2w images.
    """

    receive_bias: float
    receive_edge: float
    psf: float
    acquired: float
    apodisation: float
    noise: float
    fat: float
    acceleration: float
    gamma: float
    units: dict[Modality, float]


VENDOR_TRAITS: dict[str, VendorTraits] = {
    "Siemens": VendorTraits(
        0.06, 0.10, 0.9, 1.00, 0.20, 0.030, 0.75, 2.0, 1.0, {"T1w": 380.0, "T2w": 210.0}
    ),
    "GE": VendorTraits(
        0.14, 0.45, 0.7, 0.86, 0.55, 0.036, 0.90, 2.0, 0.92, {"T1w": 5200.0, "T2w": 3100.0}
    ),
    "Philips": VendorTraits(
        0.09, -0.10, 1.1, 0.94, 0.10, 0.045, 0.65, 2.2, 1.06, {"T1w": 1150.0, "T2w": 640.0}
    ),
}
"""Assumptions, measured on no scanner: Siemens with pre-scan normalization and moderate blur, GE
with a stronger residual bias and zero-filling behind a window, Philips with less of either.
Acceleration is that of the ABCD protocols (Casey et al. 2018); Philips accelerates along two axes,
of which the larger factor counts."""


def vary(value: float, log_sd: float, generator: np.random.Generator) -> float:
    """A log-normal draw around a median, with the standard deviation of its logarithm."""
    return float(value * np.exp(log_sd * generator.standard_normal()))


def vendor_scanner(vendor: str, modality: Modality, seed: int) -> Scanner:
    """A typical scanner of "Siemens", "GE" or "Philips" with the small changes of one scan."""
    rng = np.random.default_rng([seed, *vendor.encode(), *modality.encode()])
    traits = VENDOR_TRAITS[vendor]
    width = vary(traits.psf, 0.06, rng)
    return Scanner(
        protocol=vary_calibration(VENDOR_PROTOCOLS[vendor, modality], rng),
        field_seed=int(rng.integers(2**31)),
        receive_bias=vary(traits.receive_bias, 0.15, rng),
        receive_edge=vary(traits.receive_edge, 0.15, rng),
        transmit_bias=vary(0.30, 0.12, rng),
        psf=(width, width, width),
        acquired=(1.0, traits.acquired, traits.acquired),
        apodisation=traits.apodisation,
        noise=vary(traits.noise, 0.10, rng),
        g_factor=vary(0.5, 0.15, rng),
        acceleration=traits.acceleration,
        fat=vary(traits.fat, 0.05, rng) if modality == "T1w" else 1.0,
        gamma=vary(traits.gamma, 0.01, rng),
        # Not varied: a random gain would be hidden by the scaling that every method does.
        units=traits.units[modality],
    )


def random_scanner(modality: Modality, seed: int) -> Scanner:
    """Draw a scanner from ranges far wider than those of the three vendors, for training."""
    rng = np.random.default_rng([seed, *modality.encode()])
    uniform = rng.uniform
    protocol = random_protocol(modality, rng)
    width = uniform(0.4, 2.4)
    stretch = np.exp(rng.normal(0, 0.15, 3))
    acquired = np.where(rng.random(3) < 0.5, 1.0, uniform(0.6, 1.0, 3))
    scanner = Scanner(
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
        fat=float(uniform(0.1, 1.0)),
        gamma=float(np.exp(rng.normal(0, 0.15))),
        units=float(np.exp(uniform(np.log(80), np.log(20000)))),
        rounding=bool(rng.random() < 0.8),
    )
    return evolve(scanner, **_rare_effects(protocol, rng))


def _rare_effects(protocol: Protocol, rng: np.random.Generator) -> dict[str, Any]:
    """Effects of some scanners only: thick slices, distortion, filters, saturation, 8 bits."""
    effects: dict[str, Any] = {
        "acceleration": float(rng.choice((1.0, 2.0, 3.0), p=(0.4, 0.4, 0.2))),
        "accelerated_axis": int(rng.integers(3)),
        "slice_axis": int(rng.integers(3)),
    }
    if rng.random() < 0.3:
        thickest = 5.0 if protocol.modality == "T2w" else 3.0
        effects["thickness"] = float(rng.uniform(1.5, thickest))
    if rng.random() < 0.3:
        effects["distortion"] = float(rng.normal(0, 0.7))
    if rng.random() < 0.3:
        effects["sharpening"] = float(rng.uniform(-0.3, 0.8))
    if rng.random() < 0.2:
        # Fat and vessels saturate first; in T2w images CSF does.
        brightest = brain_contrast(protocol)["csf"] if protocol.modality == "T2w" else 1.0
        effects["ceiling"] = float(brightest * rng.uniform(0.85, 1.4))
    if rng.random() < 0.1:
        effects["levels"] = 255
    return effects
