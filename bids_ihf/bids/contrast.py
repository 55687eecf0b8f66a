"""The contrast of an anatomical image by its sidecar, where its name says another.

FLAIR is published under the name T2w (all of ON-Harmony, OpenNeuro ds004712: InversionTime 1.65 to
2.71 s), and T1-weighted images under the name FLAIR (T1 FLAIR and gradient echoes among the scans
of SOOP, OpenNeuro ds004889).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FLAIR_INVERSION_TIMES_S = (1.4, 4.0)
"""Inversion times, s, that null CSF: 1.6 to 2.8 s in published FLAIR protocols of 1.5 and 3 T."""

T1_FLAIR_INVERSION_TIMES_S = (0.5, 1.2)
"""Inversion times, s, of a T1 FLAIR: 0.9 to 1.0 s in those of SOOP."""

MAX_PULSE_INTERVAL_S = 0.1
"""RepetitionTime, s, up to which it is the interval of the pulses of a gradient echo."""


def contrast_by_sidecar(suffix: str, metadata: Mapping[str, Any]) -> tuple[str, str | None]:
    """The modality of an image as its sidecar has it, and why it is not that of its name.

    Parameters
    ----------
    suffix
        Suffix of the file name.
    metadata
        Its JSON sidecars, merged.

    Returns
    -------
    modality : str
        ``FLAIR`` for a T2w with the inversion time of a FLAIR, ``T1w`` for a FLAIR with that of a
        T1 FLAIR or with the pulses of a gradient echo; else `suffix`.
    reason : str or None
        What the sidecar says; None where the name is right.

    Examples
    --------
    >>> contrast_by_sidecar("T2w", {"InversionTime": 1.8})
    ('FLAIR', 'InversionTime 1.8 s')
    >>> contrast_by_sidecar("FLAIR", {"InversionTime": 2.5, "RepetitionTime": 9})
    ('FLAIR', None)
    """
    inversion, repetition = (
        _seconds(metadata.get(field)) for field in ("InversionTime", "RepetitionTime")
    )
    if suffix == "T2w" and _is_within(inversion, FLAIR_INVERSION_TIMES_S):
        return "FLAIR", f"InversionTime {inversion:g} s"
    if suffix == "FLAIR" and _is_within(repetition, (0.0, MAX_PULSE_INTERVAL_S)):
        return "T1w", f"RepetitionTime {repetition:g} s"
    if suffix == "FLAIR" and _is_within(inversion, T1_FLAIR_INVERSION_TIMES_S):
        return "T1w", f"InversionTime {inversion:g} s"
    return suffix, None


def misnamed_text(name: str, suffix: str, modality: str, reason: str) -> str:
    """A sentence about an image whose modality is not that of its name."""
    return (
        f"{name}: its name says {suffix}, but {reason} is that of {modality}; it counts as "
        f"{modality} and keeps its name."
    )


def _seconds(value: object) -> float | None:
    """A time of a sidecar; None where it is missing, or no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _is_within(seconds: float | None, limits: tuple[float, float]) -> bool:
    return seconds is not None and limits[0] < seconds <= limits[1]
