"""T1w and T2w protocols of the three vendors."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from bids_ihf.bids.names import Modality

ANATOMICAL_MODALITIES: tuple[Modality, ...] = ("T1w", "T2w")

Sequence = Literal["MPRAGE", "BRAVO", "TFE", "SPGR", "TSE", "CUBE", "VISTA"]
GRADIENT_ECHO_SEQUENCES = frozenset({"MPRAGE", "BRAVO", "TFE", "SPGR"})


@frozen
class Protocol:
    """One protocol; times in seconds, angles in degrees, field strength in tesla.

    repetition_time: between inversions (gradient-echo trains), excitations (spin echoes), or
        pulses (SPGR).
    flip_angle: of the excitation of a gradient echo; the mean refocusing angle of a spin echo.
    echo_spacing: between the pulses of the train; echoes: pulses per train.
    centre: position in the train, 0 to 1, at which the centre of k-space is acquired.
    transverse_time: spin echoes only; time up to the centre of k-space during which the
        magnetization is transverse, which sets the T2 contrast.  The echo time itself for
        180-degree pulses; far less for variable flip angles where the vendor reports the nominal
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
        """BIDS suffix of the images of this protocol."""
        return "T1w" if self.sequence in GRADIENT_ECHO_SEQUENCES else "T2w"


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
"""Protocols after the ABCD study (Casey et al. 2018, Dev Cogn Neurosci 32:43).

Echo spacings, position of the k-space centre and transverse times are not published there; they
are typical values.
"""
