"""A simulated scanner, as one of the three vendors' or far from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.protocol import (
    VENDOR_PROTOCOLS,
    Modality,
    Protocol,
    brain_contrast,
    random_protocol,
    vary_calibration,
)

__all__ = ["Scanner", "random_scanner", "scan", "vendor_scanner"]


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
    acceleration: of parallel imaging along `accelerated_axis`; its aliases fold noise into bands.
    accelerated_axis: array axis of the phase encoding.
    thickness: of the slices across `slice_axis` in mm; 0 is that of the anatomy's grid.
    slice_axis: array axis across the slices.
    distortion: what correction of the gradients' nonlinearity leaves, mm at 90 mm from the centre.
    texture_gain: multiplies the person's texture.
    fat: what water excitation or fat suppression leaves of the signal of fat, 0 to 1.
    gamma: exponent of the vendor's post-processing, with white matter held in place.
    sharpening: of the vendor's edge filter: share of an unsharp mask that is added.
    ceiling: signal, relative to white matter, at which the stored image saturates.
    units: the stored value of white matter where no field changes it.
    rounding: store whole numbers.
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


# Typical values of our own choosing: Siemens with pre-scan normalisation and moderate blur, GE
# with a stronger residual bias and zero-filling behind a window, Philips with less of either.
_VENDOR_TRAITS: dict[str, dict[str, float]] = {
    "Siemens": {"bias": 0.06, "edge": 0.10, "psf": 0.9, "acquired": 1.00, "apodisation": 0.20},
    "GE": {"bias": 0.14, "edge": 0.45, "psf": 0.7, "acquired": 0.86, "apodisation": 0.55},
    "Philips": {"bias": 0.09, "edge": -0.10, "psf": 1.1, "acquired": 0.94, "apodisation": 0.10},
}
_VENDOR_NOISE = {"Siemens": 0.030, "GE": 0.036, "Philips": 0.045}
_VENDOR_FAT = {"Siemens": 0.75, "GE": 0.90, "Philips": 0.65}
# The ABCD protocols' own factors; Philips spreads its over two axes, of which the larger counts.
_VENDOR_ACCELERATION = {"Siemens": 2.0, "GE": 2.0, "Philips": 2.2}
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
        protocol=vary_calibration(VENDOR_PROTOCOLS[vendor, modality], rng),
        field_seed=int(rng.integers(2**31)),
        receive_bias=around(traits["bias"], 0.15),
        receive_edge=around(traits["edge"], 0.15),
        transmit_bias=around(0.30, 0.12),
        psf=(width, width, width),
        acquired=(1.0, traits["acquired"], traits["acquired"]),
        apodisation=traits["apodisation"],
        noise=around(_VENDOR_NOISE[vendor], 0.10),
        g_factor=around(0.5, 0.15),
        acceleration=_VENDOR_ACCELERATION[vendor],
        fat=around(_VENDOR_FAT[vendor], 0.05) if modality == "T1w" else 1.0,
        gamma=around(_VENDOR_GAMMA[vendor], 0.01),
        # Not varied: a gain of its own would hide behind the scaling of every method alike.
        units=_VENDOR_UNITS[vendor, modality],
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
    return evolve(scanner, **_oddities(protocol, rng))


def _oddities(protocol: Protocol, rng: np.random.Generator) -> dict[str, Any]:
    """What only some scanners do: thick slices, distortion, filters, saturation, 8-bit export."""
    found: dict[str, Any] = {
        "acceleration": float(rng.choice((1.0, 2.0, 3.0), p=(0.4, 0.4, 0.2))),
        "accelerated_axis": int(rng.integers(3)),
        "slice_axis": int(rng.integers(3)),
    }
    if rng.random() < 0.3:
        found["thickness"] = float(rng.uniform(1.5, 5.0 if protocol.modality == "T2w" else 3.0))
    if rng.random() < 0.3:
        found["distortion"] = float(rng.normal(0, 0.7))
    if rng.random() < 0.3:
        found["sharpening"] = float(rng.uniform(-0.3, 0.8))
    if rng.random() < 0.2:
        # Fat and vessels saturate first, in T2w images the CSF.
        brightest = brain_contrast(protocol)["csf"] if protocol.modality == "T2w" else 1.0
        found["ceiling"] = float(brightest * rng.uniform(0.85, 1.4))
    if rng.random() < 0.1:
        found["levels"] = 255
    return found
