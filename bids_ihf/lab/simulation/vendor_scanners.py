"""Scanners of the three vendors: their populations, and the typical one behind each target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, frozen

from bids_ihf.bids.names import ANATOMICAL_MODALITIES
from bids_ihf.lab.simulation.populations import (
    draw_protocol,
    typical_protocol,
    typical_row,
    vary_calibration,
)
from bids_ihf.lab.simulation.scanner import Scanner

if TYPE_CHECKING:
    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.protocol import Protocol
    from bids_ihf.lab.simulation.protocol_table import RealProtocol

TRANSMIT_BIAS_PER_TESLA = 0.09
"""Drop of the transmit field from the centre of the brain to 90 mm from it, relative, per tesla:
0.27 at 3 T, as in B1 maps (Sled & Pike 1998, IEEE Trans Med Imaging 17:653; Boyer et al. 2015)."""

MAX_TRANSMIT_BIAS = 0.55
"""Largest drop of the transmit field."""

REFERENCE_FIELD_T, REFERENCE_VOXEL_MM3 = 3.0, 1.0
"""Field strength and volume of the voxel that the noise of the traits belongs to."""

NOISE_RANGE = (0.003, 0.06)
"""Bounds of the noise of a scan, relative to white matter."""

NOISE_FACTOR: dict[str, float] = {"T1w": 1.0, "T2w": 1.7, "FLAIR": 1.3}
"""Noise relative to that of T1w scans: real T2w scans have 1.8 %, T1w scans 1.0 %."""

BLUR_FACTOR: dict[str, float] = {"T1w": 1.0, "T2w": 1.25, "FLAIR": 1.1}
"""Blur relative to that of T1w scans: long trains of echoes blur more."""

NORMALIZED_BIAS_FACTOR = 0.4
"""Random coil sensitivity that prescan normalization leaves."""

TEXTURE_GAIN = 0.7
"""Median texture: white matter of real T1w scans has half to all of the simulated one."""


@frozen
class VendorTraits:
    """What no sidecar states: values around which scanners of a vendor are drawn.

    The fields of `Scanner` of the same names; ``edge_normalized`` is ``receive_edge`` of images
    that are corrected for the coil, ``blur_per_pixel`` the blur relative to the acquired pixel;
    ``units`` are those of T1w, T2w and FLAIR.
    """

    receive_bias: float
    receive_edge: float
    edge_normalized: float
    blur_per_pixel: float
    apodisation: float
    noise: float
    fat: float
    units: tuple[float, float, float]


VENDOR_TRAITS: dict[str, VendorTraits] = {
    "Siemens": VendorTraits(0.11, 0.40, 0.05, 1.20, 0.20, 0.010, 0.75, (380.0, 210.0, 240.0)),
    "GE": VendorTraits(0.13, 0.35, 0.06, 1.10, 0.50, 0.012, 0.90, (5200.0, 3100.0, 2800.0)),
    "Philips": VendorTraits(0.11, 0.25, 0.04, 1.30, 0.15, 0.011, 0.65, (1150.0, 640.0, 520.0)),
}
"""Assumptions around the medians of real scans (noise 1.0 % in T1w, blur 1.4 mm at pixels of 1 mm,
bias 7 to 12 % uncorrected and 2 % corrected; docs/simulation.md): too few of them name their
vendor for these to be measured by vendor, so how the vendors differ is a guess."""

MIXED_TRAITS = VendorTraits(0.12, 0.30, 0.05, 1.25, 0.3, 0.011, 0.75, (900.0, 600.0, 600.0))
"""Of scanners of other vendors."""


def vary(value: float, log_sd: float, generator: np.random.Generator) -> float:
    """A log-normal draw around a median, with the standard deviation of its logarithm."""
    return float(value * np.exp(log_sd * generator.standard_normal()))


def typical_scanner(vendor: str, modality: Modality, seed: int) -> Scanner:
    """The scanner behind the target of "Siemens", "GE" or "Philips": its typical research
    protocol (`populations.typical_row`) with the small changes of one scan."""
    rng = np.random.default_rng([seed, *vendor.encode(), *modality.encode()])
    real, traits = typical_row(vendor, modality), VENDOR_TRAITS[vendor]
    protocol = vary_calibration(typical_protocol(vendor, modality), rng)
    # The grid and its sampling belong to the protocol, not to the scan.
    geometry = slice_geometry(real, np.random.default_rng([*vendor.encode(), *modality.encode()]))
    scanner = _scanner(protocol, real, traits, geometry, rng, log_sd=0.1)
    # Not varied: a random gain would be hidden by the scaling that every method does.
    units = traits.units[ANATOMICAL_MODALITIES.index(modality)]
    return evolve(scanner, units=units, gamma=1.0)


def vendor_scanner(vendor: str, modality: Modality, seed: int) -> Scanner:
    """One scanner of a vendor's population, or of `populations.ANY_VENDOR`: a protocol around one
    of the real ones, and draws of what no sidecar states."""
    rng = np.random.default_rng([seed, *vendor.encode(), *modality.encode(), 1])
    protocol, real = draw_protocol(vendor, modality, rng)
    traits = VENDOR_TRAITS.get(real.vendor, MIXED_TRAITS)
    return _scanner(protocol, real, traits, slice_geometry(real, rng), rng, log_sd=0.35)


def _scanner(
    protocol: Protocol,
    real: RealProtocol,
    traits: VendorTraits,
    geometry: dict[str, Any],
    rng: np.random.Generator,
    *,
    log_sd: float,
) -> Scanner:
    """A scanner around the traits of its vendor."""
    modality, is_normalized = protocol.modality, real.normalized == "yes"
    edge = traits.edge_normalized if is_normalized else traits.receive_edge
    bias = traits.receive_bias * (NORMALIZED_BIAS_FACTOR if is_normalized else 1.0)
    pixel = np.asarray(geometry["pixel"])
    blur = traits.blur_per_pixel * BLUR_FACTOR[modality]
    blur = vary(blur, 0.7 * log_sd, rng) * np.maximum(pixel, 0.7)
    field = protocol.field_strength
    volume = float(np.prod(np.maximum(pixel, 0.7))) * max(geometry["thickness"], 1.0)
    signal = (field / REFERENCE_FIELD_T) ** 0.7 * (volume / REFERENCE_VOXEL_MM3) ** 0.5
    units = traits.units[ANATOMICAL_MODALITIES.index(modality)]
    noise = traits.noise * NOISE_FACTOR[modality] / signal
    return Scanner(
        protocol=protocol,
        field_seed=int(rng.integers(2**31)),
        receive_bias=vary(bias, log_sd, rng),
        receive_edge=edge + 0.3 * log_sd * float(rng.standard_normal()),
        transmit_bias=min(vary(TRANSMIT_BIAS_PER_TESLA * field, log_sd, rng), MAX_TRANSMIT_BIAS),
        psf=tuple(blur.tolist()),
        apodisation=float(np.clip(traits.apodisation + log_sd * rng.normal(0, 0.5), 0, 1)),
        noise=float(np.clip(vary(noise, 1.3 * log_sd, rng), *NOISE_RANGE)),
        g_factor=vary(0.5, log_sd, rng),
        texture_gain=vary(TEXTURE_GAIN, log_sd, rng),
        fat=min(vary(traits.fat, 0.5 * log_sd, rng), 1.0) if modality == "T1w" else 1.0,
        gamma=vary(1.0, 0.1 * log_sd, rng),
        units=vary(units, log_sd, rng),
        **geometry,
    )


def slice_geometry(real: RealProtocol, rng: np.random.Generator) -> dict[str, Any]:
    """Fields of `Scanner` on pixels, slices and acceleration, from a real protocol.

    3D volumes are sagittal, with phase encoding along both other axes; 2D slices are axial in
    two thirds, else sagittal or coronal.
    """
    pixel = real.pixel or 1.0
    fraction = real.partial_fourier or (0.875 if rng.random() < 0.3 else 1.0)
    partial_fourier = fraction if 0.5 < fraction < 1 else 1.0
    factor = real.acceleration or 1.0
    if real.dimensions == 3:
        thickness = real.thickness or 1.0
        # A spacing of half the thickness is interpolated between partitions, not acquired.
        partitions = max(thickness, 0.7)
        second = float(rng.choice((1.0, factor**0.5))) if factor > 1.5 else 1.0
        return {
            "pixel": (partitions, pixel, min(pixel, 1.2)),
            "thickness": 0.0,
            "slice_axis": 0,
            "phase_axis": 1,
            "elliptical": bool(rng.random() < 0.3),
            "partial_fourier": partial_fourier,
            "acceleration": (second, factor / second, 1.0),
        }
    axis = int(rng.choice((2, 1, 0), p=(0.66, 0.17, 0.17)))
    in_plane = [other for other in (0, 1, 2) if other != axis]
    phase = int(rng.choice(in_plane))
    pixels, acceleration = [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    for plane_axis in in_plane:
        pixels[plane_axis] = pixel if plane_axis == phase else max(0.6 * pixel, 0.6)
    acceleration[phase] = factor
    thickness = real.thickness or 5.0
    return {
        "pixel": tuple(pixels),
        "thickness": thickness,
        "spacing": real.spacing or thickness,
        "slice_axis": axis,
        "phase_axis": phase,
        "partial_fourier": partial_fourier,
        "acceleration": tuple(acceleration),
    }
