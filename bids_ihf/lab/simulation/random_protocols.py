"""Random protocols for training: around real ones, and well outside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve

from bids_ihf.lab.simulation.completion import csf_nulling_recovery_time
from bids_ihf.lab.simulation.populations import is_plausible
from bids_ihf.lab.simulation.protocol import Protocol

if TYPE_CHECKING:
    from bids_ihf.bids.names import Modality

RANDOM_VENDOR = "random"
"""Vendor of the scanners that belong to none."""

FIELD_STRENGTHS_T = (0.064, 0.1, 0.35, 0.55, 1.5, 3.0, 5.0, 7.0)
"""Field strengths of human scanners."""

FIELD_PROBABILITIES = (0.04, 0.06, 0.04, 0.06, 0.3, 0.3, 0.1, 0.1)
"""Probabilities of the field strengths."""


def random_protocol(modality: Modality, generator: np.random.Generator) -> Protocol:
    """Draw a protocol around and well outside the real ones, with a plausible contrast."""
    draw = {"T1w": _random_t1w, "T2w": _random_t2w, "FLAIR": _random_flair}[modality]
    while True:
        protocol = draw(generator)
        if is_plausible(protocol):
            return protocol


def _random_field_strength(generator: np.random.Generator) -> float:
    return float(generator.choice(FIELD_STRENGTHS_T, p=FIELD_PROBABILITIES))


def _random_t1w(generator: np.random.Generator) -> Protocol:
    """Inversion-prepared gradient-echo trains, spoiled gradient echoes, and spin echoes."""
    uniform, kind = generator.uniform, generator.random()
    field = _random_field_strength(generator)
    if kind < 0.15:
        return Protocol(
            RANDOM_VENDOR, field, "SPGR", uniform(0.0015, 0.006), uniform(0.008, 0.030),
            uniform(12, 35),
        )  # fmt: skip
    if kind < 0.25:  # 2D, many slices in turn
        return Protocol(
            RANDOM_VENDOR, field, "SPGR", uniform(0.0015, 0.006), uniform(0.15, 0.35),
            uniform(60, 90),
        )  # fmt: skip
    if kind < 0.4:
        echo_time = uniform(0.007, 0.020)
        return Protocol(
            RANDOM_VENDOR, field, "SE", echo_time, uniform(0.35, 0.8), uniform(130, 180),
            echo_spacing=echo_time, echoes=int(generator.integers(1, 6)),
            excitation_angle=uniform(65, 90),
        )  # fmt: skip
    spacing, echoes = uniform(0.003, 0.013), int(generator.integers(80, 260))
    inversion_time = uniform(0.35, 1.3)
    shortest = inversion_time + spacing * echoes
    return Protocol(
        vendor=RANDOM_VENDOR,
        field_strength=field,
        sequence="MPRAGE",
        echo_time=uniform(0.0012, 0.006),
        repetition_time=uniform(max(1.2, shortest), max(1.2, shortest) + 1.0),
        flip_angle=uniform(5, 16),
        inversion_time=inversion_time,
        echo_spacing=spacing,
        echoes=echoes,
        centre=uniform(0.0, 0.5),
    )


def _random_t2w(generator: np.random.Generator) -> Protocol:
    """Spin-echo trains with variable or near-180-degree refocusing angles."""
    uniform = generator.uniform
    is_variable = generator.random() < 0.5
    transverse = uniform(0.055, 0.130)
    return Protocol(
        vendor=RANDOM_VENDOR,
        field_strength=_random_field_strength(generator),
        sequence="SPACE" if is_variable else "TSE",
        echo_time=transverse * uniform(1.0, 7.0) if is_variable else transverse,
        repetition_time=uniform(2.2, 9.0),
        flip_angle=uniform(60, 150) if is_variable else uniform(120, 180),
        echo_spacing=uniform(0.003, 0.006) if is_variable else uniform(0.008, 0.015),
        echoes=int(generator.integers(100, 330) if is_variable else generator.integers(5, 28)),
        centre=uniform(0.1, 0.5),
        transverse_time=transverse,
        modality="T2w",
    )


def _random_flair(generator: np.random.Generator) -> Protocol:
    """A T2w protocol with an inversion that nulls CSF, well or badly."""
    uniform = generator.uniform
    protocol = _random_t2w(generator)
    repetition_time = uniform(4.5, 12.0)
    inversion_time = repetition_time * uniform(0.22, 0.40)
    recovery_time = csf_nulling_recovery_time(protocol.field_strength, inversion_time)
    saturated = repetition_time - inversion_time - recovery_time * uniform(0.9, 1.1)
    return evolve(
        protocol,
        repetition_time=repetition_time,
        inversion_time=inversion_time,
        echo_spacing=min(max(saturated, 0.0) / protocol.echoes, protocol.echo_spacing),
        modality="FLAIR",
    )
