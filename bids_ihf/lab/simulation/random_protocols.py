"""Random protocols for training, and small changes of calibration from scan to scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from bids_ihf.lab.simulation.protocol import Protocol
from bids_ihf.lab.simulation.signal_equations import brain_contrast

if TYPE_CHECKING:
    import numpy as np

    from bids_ihf.bids.names import Modality

FLIP_ANGLE_VARIATION = 0.01
"""Standard deviation of the flip angle between scans, relative to its value."""


def is_plausible(protocol: Protocol) -> bool:
    """Whether the tissues of the brain have the order of intensities of a T1w or T2w image."""
    ratio = brain_contrast(protocol)
    if protocol.modality == "T1w":
        return 0.45 < ratio["grey"] < 0.88 and ratio["csf"] < 0.75 * ratio["grey"]
    return 1.08 < ratio["grey"] < 2.2 and 1.25 * ratio["grey"] < ratio["csf"] < 9.0


def random_protocol(modality: Modality, generator: np.random.Generator) -> Protocol:
    """Draw a protocol around and well outside those of the vendors, with a plausible contrast."""
    draw = _random_t1w if modality == "T1w" else _random_t2w
    while True:
        protocol = draw(generator)
        if is_plausible(protocol):
            return protocol


def _random_field_strength(generator: np.random.Generator) -> float:
    return 3.0 if generator.random() < 0.5 else float(generator.uniform(1.5, 3.0))


def _random_t1w(generator: np.random.Generator) -> Protocol:
    """Inversion-prepared gradient-echo trains, and a fifth of spoiled gradient echoes."""
    uniform = generator.uniform
    field = _random_field_strength(generator)
    if generator.random() < 0.2:
        return Protocol(
            "random", field, "SPGR", uniform(0.002, 0.006), uniform(0.008, 0.030), uniform(12, 35)
        )
    spacing, echoes = uniform(0.005, 0.011), int(generator.integers(80, 240))
    inversion_time = uniform(0.45, 1.3)
    shortest = inversion_time + spacing * echoes
    return Protocol(
        vendor="random",
        field_strength=field,
        sequence="MPRAGE",
        echo_time=uniform(0.0015, 0.006),
        repetition_time=uniform(max(1.2, shortest), max(1.2, shortest) + 1.5),
        flip_angle=uniform(5, 15),
        inversion_time=inversion_time,
        echo_spacing=spacing,
        echoes=echoes,
        centre=uniform(0.0, 0.5),
    )


def _random_t2w(generator: np.random.Generator) -> Protocol:
    """Spin-echo trains with variable or near-180-degree refocusing angles."""
    uniform = generator.uniform
    variable = generator.random() < 0.6
    transverse = uniform(0.055, 0.130)
    return Protocol(
        vendor="random",
        field_strength=_random_field_strength(generator),
        sequence="TSE",
        echo_time=transverse * uniform(1.0, 7.0) if variable else transverse,
        repetition_time=uniform(2.2, 8.0),
        flip_angle=uniform(60, 150) if variable else uniform(120, 180),
        echo_spacing=uniform(0.003, 0.006) if variable else uniform(0.008, 0.015),
        echoes=int(generator.integers(100, 250)) if variable else int(generator.integers(8, 24)),
        centre=uniform(0.1, 0.5),
        transverse_time=transverse,
    )


def vary_calibration(protocol: Protocol, generator: np.random.Generator) -> Protocol:
    """Vary the flip angle a little, as calibration does from scan to scan."""
    flip_angle = protocol.flip_angle * (1 + FLIP_ANGLE_VARIATION * generator.standard_normal())
    return evolve(protocol, flip_angle=float(flip_angle))
