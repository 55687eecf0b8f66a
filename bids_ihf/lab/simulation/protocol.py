"""One protocol of an anatomical image: what the signal equations need."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from bids_ihf.bids.names import Modality

Sequence = Literal["MPRAGE", "SPGR", "SE", "TSE", "SPACE"]
"""Kinds of pulse sequences, by the name that is most used for each.

MPRAGE: inversion-prepared trains of gradient echoes, 3D (also BRAVO, TFE).
SPGR: spoiled gradient echoes, 2D or 3D (also FLASH, FFE).
SE: spin echoes, one or a few per excitation, 2D.
TSE: trains of spin echoes with refocusing angles near 180 degrees, mostly 2D (also FSE).
SPACE: long trains of spin echoes with variable refocusing angles, 3D (also CUBE, VISTA).
"""


@frozen
class Protocol:
    """One protocol; times in seconds, angles in degrees, field strength in tesla.

    repetition_time: between inversions (MPRAGE, FLAIR), excitations (spin echoes), or pulses
        (SPGR).
    flip_angle: of the excitation of a gradient echo; the mean refocusing angle of a spin echo.
    echo_spacing: between the pulses of the train; echoes: pulses per train.
    centre: position in the train, 0 to 1, at which the centre of k-space is acquired.
    transverse_time: spin echoes only; time up to the centre of k-space during which the
        magnetization is transverse, which sets the T2 contrast.  The echo time itself for
        180-degree pulses; far less for variable flip angles where the vendor reports the nominal
        time, and more where the vendor reports a shorter, effective one.
    excitation_angle: of spin echoes.
    name: of the protocol in the table of real ones.
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
    excitation_angle: float = 90.0
    modality: Modality = "T1w"
    name: str = ""
