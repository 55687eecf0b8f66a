"""Diffusion protocols and scanners: spin-echo EPI of the three vendors."""

from __future__ import annotations

import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.simulation.vendor_scanners import vary


@frozen
class EpiScanner:
    """One diffusion protocol on one scanner.

    echo_time, repetition_time: seconds; field_strength: tesla.
    b_scale: effective over nominal b-value at the isocentre (calibration, imaging gradients).
    b_edge: change of that factor from the centre to 90 mm from it, with the square of
        the distance (nonlinear gradients; Malyarenko et al. 2014, Magn Reson Med 71:1312).
    psf: full width at half maximum in mm of the Gaussian blur along right, anterior (the phase
        encoding), superior.
    noise: standard deviation in each channel, relative to white matter at b 0; that of the
        vendors is for voxels of 3 mm.
    coils: channels combined by the root of the sum of squares; 1 gives Rician noise.
    g_factor: relative increase of the noise at the centre of the brain.
    receive_bias, receive_edge, field_seed: as in `scanner.Scanner`.
    distortion: residual displacement near the frontal sinus, mm along the phase encoding.
    fat: fraction of the signal of fat that fat suppression leaves.
    units: the stored value of white matter at b 0.
    rounding: store integers.
    """

    vendor: str
    echo_time: float
    repetition_time: float
    b_scale: float = 1.0
    b_edge: float = 0.0
    psf: tuple[float, float, float] = (1.5, 2.0, 1.0)
    noise: float = 0.016
    coils: int = 1
    g_factor: float = 0.4
    receive_bias: float = 0.1
    receive_edge: float = 0.15
    field_seed: int = 0
    distortion: float = 0.0
    fat: float = 0.1
    units: float = 500.0
    field_strength: float = 3.0
    rounding: bool = True


VENDOR_EPI_SCANNERS: dict[str, EpiScanner] = {
    "Siemens": EpiScanner(
        "Siemens", 0.088, 4.1, 1.00, -0.02, (1.4, 2.0, 0.8), 0.016, 4, 0.4, 0.08, 0.10,
        distortion=0.4, units=420.0,
    ),
    "GE": EpiScanner(
        "GE", 0.0819, 4.1, 0.95, -0.05, (1.8, 2.8, 1.2), 0.016, 4, 0.3, 0.14, 0.40,
        distortion=-0.5, units=1900.0,
    ),
    "Philips": EpiScanner(
        "Philips", 0.089, 5.3, 1.04, 0.01, (1.0, 1.6, 0.6), 0.021, 1, 0.5, 0.10, -0.10,
        distortion=0.5, units=900.0,
    ),
}  # fmt: skip
"""Echo and repetition times of the ABCD study (Casey et al. 2018, Dev Cogn Neurosci 32:43).

Channels are combined by the sum of squares in every Siemens series whose sidecar states it
(CoilCombinationMethod; 152 sidecars of four datasets).  All else is an assumption, measured on no
scanner: effective b-values a few per cent off the nominal ones, the sum of squares at GE.
"""


def vendor_epi_scanner(vendor: str, seed: int) -> EpiScanner:
    """A typical scanner of "Siemens", "GE" or "Philips" with the small changes of one scan."""
    rng = np.random.default_rng([seed, *vendor.encode(), *b"dwi"])
    typical = VENDOR_EPI_SCANNERS[vendor]
    width = vary(1.0, 0.04, rng)
    return evolve(
        typical,
        field_seed=int(rng.integers(2**31)),
        b_scale=vary(typical.b_scale, 0.005, rng),
        psf=(width * typical.psf[0], width * typical.psf[1], width * typical.psf[2]),
        noise=vary(typical.noise, 0.08, rng),
        receive_bias=vary(typical.receive_bias, 0.15, rng),
        receive_edge=vary(typical.receive_edge, 0.15, rng),
        distortion=vary(typical.distortion, 0.2, rng),
        units=vary(typical.units, 0.05, rng),
    )
