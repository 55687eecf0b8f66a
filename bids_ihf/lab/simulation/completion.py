"""From a real protocol to one that can be simulated: what its sidecar does not state.

What a sidecar states is taken from it, varied by a few per cent as it varies between sites; what
no sidecar states (order of k-space, refocusing angles, the time that magnetization is transverse)
is drawn from ranges that are assumptions, given here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.simulation.protocol import Protocol
from bids_ihf.lab.simulation.signal_equations import INVERSION_EFFICIENCY
from bids_ihf.lab.simulation.tissues import tissue

if TYPE_CHECKING:
    from bids_ihf.lab.simulation.protocol_table import RealProtocol

SITE_VARIATION = 0.03
"""Standard deviation of the logarithm of times and angles around a real protocol."""

PULSE_INTERVAL_S = (0.0065, 0.0090)
"""Time between the pulses of a gradient-echo train where the sidecar is silent."""

TRAIN_PULSES = (160, 240)
"""Pulses of a gradient-echo train where the sidecar is silent: the partitions of a head."""

INVERSION_TIME_S = (0.81, 1.0)
"""Inversion time where the sidecar is silent: the range of those Philips protocols that do not."""

RECOVERY_TIME_S = (0.0, 0.6)
"""Pause after a gradient-echo train where the sidecar does not state the time between
inversions."""

TRAIN_CENTRE = {"Siemens": (0.45, 0.5), "GE": (0.0, 0.15), "Philips": (0.15, 0.5)}
"""Position of the centre of k-space in a gradient-echo train: linear order at Siemens, centric at
GE; assumptions."""

REFOCUSING_ANGLE = {2: (120.0, 180.0), 3: (60.0, 120.0)}
"""Mean refocusing angle, degrees, by the dimensions of the encoding."""

TRANSVERSE_TIME_S = {"T1w": (0.008, 0.02), "T2w": (0.065, 0.105), "FLAIR": (0.085, 0.140)}
"""Transverse time of trains with variable angles whose echo time is nominal (Mugler 2014: the
equivalent echo time is a third to a sixth of the nominal one)."""

EFFECTIVE_TIME_FACTOR = (0.95, 1.25)
"""Transverse time relative to the echo time where the vendor, GE, states an effective one."""

BRAVO_RECOVERY_TIME_S = (0.0, 0.1)
"""The same for trains of GE whose sidecar states the time between pulses: there the next
inversion follows the train, and the stated inversion time is the pause before the train, not the
time to the centre of k-space."""

CSF_NULLING_VARIATION = 0.04
"""Standard deviation of the logarithm of the recovery time around the one that nulls CSF."""

MAX_EXCITATION_ANGLE_DEG = 100.0
"""A flip angle of a spin echo up to this is that of the excitation, else of the refocusing."""

SPIN_ECHO_SPACING_S = {2: (0.008, 0.013), 3: (0.0033, 0.0055)}
"""Time between spin echoes where the sidecar is silent, by the dimensions of the encoding."""

SPIN_ECHO_TRAIN = {2: (8, 24), 3: (100, 250)}
"""Echoes of a train where the sidecar is silent, by the dimensions of the encoding."""

DEFAULT_FLIP_ANGLE_DEG, DEFAULT_FIELD_T = 9.0, 3.0
"""Where the sidecar is silent: the medians of the table."""


@frozen
class Completion:
    """Draws what is not stated, or takes the middle of each range without a generator."""

    generator: np.random.Generator | None = None

    def between(self, low: float, high: float) -> float:
        """A value of a range."""
        if self.generator is None:
            return (low + high) / 2
        return float(self.generator.uniform(low, high))

    def varied(self, value: float) -> float:
        """A stated value, a few per cent off."""
        return self.varied_by(value, SITE_VARIATION)

    def varied_by(self, value: float, log_sd: float) -> float:
        """A value with a standard deviation of its logarithm."""
        if self.generator is None:
            return value
        return float(value * np.exp(log_sd * self.generator.standard_normal()))


def complete_protocol(real: RealProtocol, vendor: str, completion: Completion) -> Protocol:
    """A protocol of a vendor from a real one."""
    protocol = Protocol(
        vendor=vendor,
        field_strength=real.field_strength or DEFAULT_FIELD_T,
        sequence=real.sequence,
        echo_time=completion.varied(real.echo_time),
        repetition_time=completion.varied(real.repetition_time or 0.0),
        flip_angle=completion.varied(real.flip_angle or DEFAULT_FLIP_ANGLE_DEG),
        modality=real.modality,
        name=real.name,
    )
    if real.sequence == "SPGR":
        return protocol
    if real.sequence == "MPRAGE":
        return _gradient_echo_train(protocol, real, completion)
    return _spin_echo_train(protocol, real, completion)


def csf_nulling_recovery_time(field_strength: float, inversion_time: float) -> float:
    """Time (s) from the end of saturation to the inversion after which CSF is nulled at the
    inversion time: vendors set TR and TI of a FLAIR so, but do not state for how long the train
    saturates CSF, whose T2 is longer than the train."""
    t1 = tissue("csf").relaxation(field_strength).t1
    recovered = (np.exp(inversion_time / t1) - 1) / INVERSION_EFFICIENCY
    return float(-t1 * np.log(max(1 - recovered, 0.02)))


def _gradient_echo_train(
    protocol: Protocol, real: RealProtocol, completion: Completion
) -> Protocol:
    spacing = completion.varied(real.pulse_interval or completion.between(*PULSE_INTERVAL_S))
    echoes = real.echoes or round(completion.between(*TRAIN_PULSES))
    inversion_time = completion.varied(
        real.inversion_time or completion.between(*INVERSION_TIME_S)
    )
    centre = completion.between(*TRAIN_CENTRE.get(protocol.vendor, (0.0, 0.5)))
    is_bravo = protocol.vendor == "GE" and real.pulse_interval is not None
    if is_bravo:
        inversion_time += spacing * echoes * centre
    shortest = inversion_time + spacing * echoes * (1 - centre)
    repetition_time = protocol.repetition_time
    if real.repetition_time is None:
        pause = BRAVO_RECOVERY_TIME_S if is_bravo else RECOVERY_TIME_S
        repetition_time = shortest + completion.between(*pause)
    return evolve(
        protocol,
        repetition_time=max(repetition_time, shortest),
        inversion_time=inversion_time,
        echo_spacing=spacing,
        echoes=echoes,
        centre=centre,
    )


def _spin_echo_train(protocol: Protocol, real: RealProtocol, completion: Completion) -> Protocol:
    dimensions, is_variable = real.dimensions, real.sequence == "SPACE"
    stated = protocol.flip_angle if real.flip_angle else None
    is_excitation = stated is None or stated <= MAX_EXCITATION_ANGLE_DEG
    refocusing = completion.between(*REFOCUSING_ANGLE[dimensions])
    spacing, echoes = completion.between(*SPIN_ECHO_SPACING_S[dimensions]), real.echoes
    if real.sequence == "SE":
        spacing, echoes = protocol.echo_time, echoes or 1
    transverse_time = None
    if is_variable:
        transverse_time = completion.between(*TRANSVERSE_TIME_S[real.modality])
        if protocol.vendor == "GE":  # states an effective echo time
            transverse_time = protocol.echo_time * completion.between(*EFFECTIVE_TIME_FACTOR)
    echoes = echoes or round(completion.between(*SPIN_ECHO_TRAIN[dimensions]))
    inversion_time = real.inversion_time
    if real.modality == "FLAIR" and inversion_time:
        recovery_time = protocol.repetition_time - inversion_time
        saturated = recovery_time - completion.varied_by(
            csf_nulling_recovery_time(protocol.field_strength, inversion_time),
            CSF_NULLING_VARIATION,
        )
        spacing = min(max(saturated / echoes, 0.0), spacing)
    return evolve(
        protocol,
        flip_angle=refocusing if is_excitation or stated is None else min(stated, 180.0),
        excitation_angle=min(stated, 90.0) if stated and is_excitation else 90.0,
        inversion_time=inversion_time,
        echo_spacing=spacing,
        echoes=echoes,
        transverse_time=transverse_time,
    )
