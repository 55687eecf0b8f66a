"""Random scanners for training: ranges far wider than those of the vendors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from bids_ihf.lab.simulation.file_history import random_history
from bids_ihf.lab.simulation.populations import ANY_VENDOR
from bids_ihf.lab.simulation.random_protocols import random_protocol
from bids_ihf.lab.simulation.scanner import Scanner
from bids_ihf.lab.simulation.signal_equations import brain_contrast
from bids_ihf.lab.simulation.vendor_scanners import MAX_TRANSMIT_BIAS, vendor_scanner

if TYPE_CHECKING:
    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.protocol import Protocol

REAL_PROTOCOL_PROBABILITY = 0.4
"""Probability that a random scanner has a protocol around a real one of any vendor."""


def random_scanner(modality: Modality, seed: int) -> Scanner:
    """Draw a scanner from ranges far wider than those of the three vendors, for training."""
    rng = np.random.default_rng([seed, *modality.encode()])
    uniform = rng.uniform
    if rng.random() < REAL_PROTOCOL_PROBABILITY:
        real = vendor_scanner(ANY_VENDOR, modality, int(rng.integers(2**31)))
        return evolve(real, **_processing(real.protocol, rng))
    protocol = random_protocol(modality, rng)
    width = float(np.exp(uniform(np.log(0.4), np.log(3.2))))
    stretch = np.exp(rng.normal(0, 0.15, 3))
    # An acquired share of k-space of 0.25 to 1 of what a pixel of 1 mm needs.
    pixel = np.where(rng.random(3) < 0.5, 0.0, 1 / uniform(0.25, 1.0, 3))
    axes = rng.permutation(3).tolist()
    acceleration = [1.0, 1.0, 1.0]
    acceleration[axes[0]] = float(rng.choice((1.0, 2.0, 3.0), p=(0.4, 0.4, 0.2)))
    acceleration[axes[1]] = float(rng.choice((1.0, 1.5, 2.0), p=(0.7, 0.15, 0.15)))
    largest = min(0.13 * protocol.field_strength, MAX_TRANSMIT_BIAS)
    scanner = Scanner(
        protocol=protocol,
        field_seed=int(rng.integers(2**31)),
        receive_bias=float(uniform(0.0, 0.30)),
        receive_edge=float(uniform(-0.3, 0.8)),
        transmit_bias=float(uniform(0.0, largest)),
        psf=tuple((width * stretch).tolist()),
        pixel=tuple(pixel.tolist()),
        phase_axis=axes[0],
        slice_axis=axes[1],
        elliptical=bool(rng.random() < 0.2),
        partial_fourier=float(uniform(0.625, 0.9)) if rng.random() < 0.2 else 1.0,
        apodisation=float(uniform(0.0, 1.0)),
        noise=float(np.exp(uniform(np.log(0.003), np.log(0.07)))),
        g_factor=float(uniform(0.0, 1.2)),
        acceleration=(acceleration[0], acceleration[1], acceleration[2]),
        texture_gain=float(uniform(0.2, 1.4)),
        fat=float(uniform(0.1, 1.0)),
        gamma=float(np.exp(rng.normal(0, 0.15))),
        units=float(np.exp(uniform(np.log(80), np.log(20000)))),
        rounding=bool(rng.random() < 0.8),
    )
    return evolve(scanner, **_slices(protocol, rng), **_processing(protocol, rng))


def _slices(protocol: Protocol, rng: np.random.Generator) -> dict[str, Any]:
    """Thick slices with gaps or overlap in a third of the scanners."""
    if rng.random() >= 0.35:
        return {}
    thickness = float(rng.uniform(1.5, 5.0 if protocol.modality == "T1w" else 6.0))
    return {"thickness": thickness, "spacing": thickness * float(rng.uniform(0.5, 1.3))}


def _processing(protocol: Protocol, rng: np.random.Generator) -> dict[str, Any]:
    """Effects of some scanners only: distortion, filters, saturation; and what was done later."""
    effects: dict[str, Any] = {"history": random_history(rng)}
    if rng.random() < 0.3:
        effects["distortion"] = float(rng.normal(0, 0.7))
    if rng.random() < 0.25:
        effects["sharpening"] = float(rng.uniform(-0.3, 0.8))
    if rng.random() < 0.15:
        # Fat and vessels saturate first; in T2w images CSF does.
        brightest = brain_contrast(protocol)["csf"] if protocol.modality == "T2w" else 1.0
        effects["ceiling"] = float(max(brightest, 1.0) * rng.uniform(0.85, 1.4))
    return effects
