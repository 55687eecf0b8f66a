"""Pulse sequences: what a T1w or T2w protocol measures in a tissue, and its BIDS metadata."""

from __future__ import annotations

from typing import Literal

import numpy as np
from attrs import evolve, frozen
from numpy.typing import ArrayLike, NDArray

from bids_ihf.lab.simulation.tissues import Relaxation, Tissue, tissue

Modality = Literal["T1w", "T2w"]
Sequence = Literal["MPRAGE", "BRAVO", "TFE", "SPGR", "TSE", "CUBE", "VISTA"]
GRADIENT_ECHO_SEQUENCES = frozenset({"MPRAGE", "BRAVO", "TFE", "SPGR"})
VENDORS = ("Siemens", "GE", "Philips")
INVERSION_EFFICIENCY = 0.96
"""Adiabatic pulse, Marques et al. 2010, NeuroImage 49:1271."""


@frozen
class Protocol:
    """One acquisition; times in seconds, angles in degrees, field strength in tesla.

    repetition_time: between inversions (gradient-echo trains), excitations (spin echoes), or
        pulses (SPGR).
    flip_angle: of the excitation of a gradient echo; the mean refocusing angle of a spin echo.
    echo_spacing: between the pulses of the train; echoes: pulses per train.
    centre: where in the train, 0 to 1, the centre of k-space is read.
    transverse_time: spin echoes only; for how long up to the centre of k-space the magnetisation
        lies in the transverse plane, which sets the T2 contrast.  The echo time itself for
        180-degree pulses, far less for variable flip angles where the vendor reports the nominal
        time, and more where the vendor reports a shorter, effective one.
    """

    vendor: str
    field_strength: float
    sequence: Sequence
    echo_time: float
    repetition_time: float
    flip_angle: float
    inversion_time: float | None = None
    echo_spacing: float = 0.007
    echoes: int = 1
    centre: float = 0.5
    transverse_time: float | None = None

    @property
    def modality(self) -> Modality:
        """The BIDS suffix of the images this protocol makes."""
        return "T1w" if self.sequence in GRADIENT_ECHO_SEQUENCES else "T2w"


# After the ABCD study (Casey et al. 2018, Dev Cogn Neurosci 32:43).  Echo spacings, the place
# of the k-space centre and the transverse time are not published there; they are typical values.
VENDOR_PROTOCOLS: dict[tuple[str, Modality], Protocol] = {
    ("Siemens", "T1w"): Protocol(
        "Siemens", 3.0, "MPRAGE", 0.00288, 2.5, 8, 1.06, 0.0070, 176, 0.50
    ),
    ("GE", "T1w"): Protocol("GE", 3.0, "BRAVO", 0.002, 2.5, 8, 1.06, 0.0060, 208, 0.05),
    ("Philips", "T1w"): Protocol("Philips", 3.0, "TFE", 0.0029, 2.5, 8, 1.06, 0.00631, 225, 0.30),
    ("Siemens", "T2w"): Protocol(
        "Siemens", 3.0, "TSE", 0.565, 3.2, 120, None, 0.0035, 282, 0.5, 0.068
    ),
    ("GE", "T2w"): Protocol("GE", 3.0, "CUBE", 0.060, 3.2, 110, None, 0.0050, 120, 0.1, 0.080),
    ("Philips", "T2w"): Protocol(
        "Philips", 3.0, "VISTA", 0.2516, 2.5, 90, None, 0.0045, 120, 0.4, 0.090
    ),
}


def tissue_signal(
    protocol: Protocol, of: Tissue, b1: ArrayLike = 1.0, *, texture: float = 0.0
) -> NDArray[np.float64]:
    """Signal of a tissue, in arbitrary units, for a relative transmit field of any shape."""
    relaxation = of.relaxation(protocol.field_strength, texture)
    field = np.asarray(b1, dtype=np.float64)
    if relaxation.density == 0:
        return np.zeros_like(field)
    if protocol.sequence == "SPGR":
        return _spoiled(protocol, relaxation, field)
    if protocol.modality == "T1w":
        return _inversion_train(protocol, relaxation, field)
    return _spin_echo_train(protocol, relaxation, field)


def _inversion_train(
    protocol: Protocol, tissue_: Relaxation, b1: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Inversion, delay, train of small pulses, recovery, in the steady state.

    Mugler & Brookeman 1990, Magn Reson Med 15:152; the closed form follows the single-train case
    of Marques et al. 2010, NeuroImage 49:1271, Appendix.  Every stage maps the longitudinal
    magnetisation m to a + b m, so the steady state is a / (1 - b).  T2 stands for T2*: with echo
    times of 2 to 4 ms either changes the tissue ratios by less than two per cent.
    """
    angle = np.deg2rad(protocol.flip_angle) * b1
    before = round(protocol.centre * protocol.echoes)
    train = protocol.echoes * protocol.echo_spacing
    inversion_time = protocol.inversion_time or 0.0
    wait = max(inversion_time - before * protocol.echo_spacing, 0.0)
    recovery = max(protocol.repetition_time - wait - train, 0.0)
    pulse = np.exp(-protocol.echo_spacing / tissue_.t1) * np.cos(angle)
    driven = (1 - np.exp(-protocol.echo_spacing / tissue_.t1)) / (1 - pulse)

    def excite(a: NDArray[np.float64], b: NDArray[np.float64], pulses: int) -> _Affine:
        kept = pulse**pulses
        return driven * (1 - kept) + kept * a, kept * b

    def relax(a: NDArray[np.float64], b: NDArray[np.float64], seconds: float) -> _Affine:
        kept = np.exp(-seconds / tissue_.t1)
        return 1 - kept + kept * a, kept * b

    start = np.zeros_like(b1), np.full_like(b1, -INVERSION_EFFICIENCY)
    centre = excite(*relax(*start, wait), before)
    end = relax(*excite(*centre, protocol.echoes - before), recovery)
    steady = end[0] / (1 - end[1])
    longitudinal = centre[0] + centre[1] * steady
    decay = np.exp(-protocol.echo_time / tissue_.t2)
    return np.abs(tissue_.density * longitudinal * np.sin(angle) * decay)


_Affine = tuple[NDArray[np.float64], NDArray[np.float64]]


def _spoiled(
    protocol: Protocol, tissue_: Relaxation, b1: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Spoiled gradient echo in the steady state, Ernst & Anderson 1966, Rev Sci Instrum 37:93."""
    angle = np.deg2rad(protocol.flip_angle) * b1
    kept = np.exp(-protocol.repetition_time / tissue_.t1)
    longitudinal = (1 - kept) / (1 - kept * np.cos(angle))
    decay = np.exp(-protocol.echo_time / tissue_.t2)
    return np.asarray(tissue_.density * longitudinal * np.sin(angle) * decay)


def _spin_echo_train(
    protocol: Protocol, tissue_: Relaxation, b1: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Train of spin echoes with low refocusing angles.

    While a pathway is stored along the field it decays with T1 and not T2, so the signal is
    exp(-t / T2 - (TE - t) / T1) with the transverse time t (Busse et al. 2006, Magn Reson Med
    55:1030; Mugler 2014, J Magn Reson Imaging 39:745).  The magnetisation recovers from zero
    after the train.  A stronger transmit field raises the refocusing angles, and with them both
    the echo, about sin(angle / 2), and t.
    """
    half = np.deg2rad(protocol.flip_angle) / 2
    refocusing = np.sin(np.minimum(half * b1, np.pi / 2)) / np.sin(half)
    transverse = (protocol.transverse_time or protocol.echo_time) * refocusing
    stored = np.maximum(protocol.echo_time - transverse, 0.0)
    train = protocol.echoes * protocol.echo_spacing
    recovery = 1 - np.exp(-max(protocol.repetition_time - train, 0.0) / tissue_.t1)
    excitation = np.sin(np.pi / 2 * b1) * refocusing
    decay = np.exp(-transverse / tissue_.t2 - stored / tissue_.t1)
    return np.asarray(tissue_.density * recovery * excitation * decay)


def brain_contrast(protocol: Protocol) -> dict[str, float]:
    """Signals of grey matter, deep grey matter and CSF divided by that of white matter."""
    white = float(tissue_signal(protocol, tissue("white")))
    names = ("grey", "deep_grey", "csf")
    return {name: float(tissue_signal(protocol, tissue(name))) / white for name in names}


def is_plausible(protocol: Protocol) -> bool:
    """Tell whether the brain's tissues stand in the order that makes an image T1w or T2w."""
    ratio = brain_contrast(protocol)
    if protocol.modality == "T1w":
        return 0.45 < ratio["grey"] < 0.88 and ratio["csf"] < 0.75 * ratio["grey"]
    return 1.08 < ratio["grey"] < 2.2 and 1.25 * ratio["grey"] < ratio["csf"] < 9.0


def random_protocol(modality: Modality, generator: np.random.Generator) -> Protocol:
    """Draw a protocol around and well outside the vendors', with a plausible tissue order."""
    draw = _random_t1w if modality == "T1w" else _random_t2w
    while True:
        protocol = draw(generator)
        if is_plausible(protocol):
            return protocol


def _field(generator: np.random.Generator) -> float:
    return 3.0 if generator.random() < 0.5 else float(generator.uniform(1.5, 3.0))


def _random_t1w(generator: np.random.Generator) -> Protocol:
    uniform = generator.uniform
    field = _field(generator)
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
    uniform = generator.uniform
    variable = generator.random() < 0.6  # variable flip angles, against refocusing near 180
    transverse = uniform(0.055, 0.130)
    return Protocol(
        vendor="random",
        field_strength=_field(generator),
        sequence="TSE",
        echo_time=transverse * uniform(1.0, 7.0) if variable else transverse,
        repetition_time=uniform(2.2, 8.0),
        flip_angle=uniform(60, 150) if variable else uniform(120, 180),
        echo_spacing=uniform(0.003, 0.006) if variable else uniform(0.008, 0.015),
        echoes=int(generator.integers(100, 250)) if variable else int(generator.integers(8, 24)),
        centre=uniform(0.1, 0.5),
        transverse_time=transverse,
    )


def vary_calibration(
    protocol: Protocol, generator: np.random.Generator, amount: float = 0.01
) -> Protocol:
    """Change the angles and the inversion a little, as calibration differs from scan to scan."""
    flip_angle = protocol.flip_angle * (1 + amount * generator.standard_normal())
    return evolve(protocol, flip_angle=float(flip_angle))
