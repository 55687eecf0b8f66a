"""The table of real protocols, ``protocols.tsv``: what the sidecars of 174 scanners state."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from bids_ihf.io.tsv import MISSING_VALUE, read_tsv

if TYPE_CHECKING:
    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.protocol import Sequence

PROTOCOL_TABLE = Path(__file__).with_name("protocols.tsv")


@frozen
class RealProtocol:
    """One protocol of a real scanner; None where the sidecar is silent.

    Times in seconds, lengths in mm, angles in degrees, field strength in tesla.

    source, dataset, site: where the sidecar lies.
    vendor: normalized name, or ``unknown``.
    modality: by contrast, so that a FLAIR that is named T2w counts as FLAIR.
    sequence: kind of the pulse sequence, see `protocol.Sequence`; EPI for diffusion.
    dimensions: of the encoding, 2 or 3.
    repetition_time: between inversions or excitations; ``pulse_interval``: between the pulses of
        a gradient-echo train, which some vendors state in its place.
    thickness, spacing: of the slices, and from centre to centre.
    pixel: acquired pixel along the phase encoding; the stored one may be smaller.
    acceleration: of parallel imaging in the plane.
    normalized: whether the image is corrected for the sensitivity of the coil (NORM).
    b_values: of a diffusion series, as ``b:volumes`` pairs.
    target: whether it is the typical research protocol of its vendor and modality.
    """

    source: str
    dataset: str
    site: str
    vendor: str
    model: str
    field_strength: float | None
    modality: Modality
    sequence: Sequence
    dimensions: int
    echo_time: float
    repetition_time: float | None
    pulse_interval: float | None
    inversion_time: float | None
    flip_angle: float | None
    echoes: int | None
    thickness: float | None
    spacing: float | None
    pixel: float | None
    acceleration: float | None
    partial_fourier: float | None
    normalized: str | None
    b_values: str | None
    target: bool

    @property
    def name(self) -> str:
        """Dataset, scanner and kind, for records."""
        model = f"{self.vendor} {self.model}" if self.model else self.vendor
        return f"{self.sequence} of {self.dataset}, {model}"

    @property
    def summary(self) -> str:
        """Its name with field strength and times."""
        times = {
            "TR": (self.repetition_time, 1, "s"),
            "pulse interval": (self.pulse_interval, 1000, "ms"),
            "TI": (self.inversion_time, 1, "s"),
            "flip angle": (self.flip_angle, 1, "degrees"),
        }
        stated = [f"TE {self.echo_time * 1000:g} ms"]
        stated += [f"{key} {v * f:g} {unit}" for key, (v, f, unit) in times.items() if v]
        return f"{self.name}: {self.field_strength:g} T, {', '.join(stated)}"


COLUMNS = tuple(field.name for field in attrs.fields(RealProtocol))
_TEXT = frozenset(
    {"source", "dataset", "site", "vendor", "model", "modality", "sequence",
     "normalized", "b_values"}
)  # fmt: skip
_WHOLE = frozenset({"dimensions", "echoes"})


def _value(column: str, text: str) -> Any:
    if column == "target":
        return text == "yes"
    if text == MISSING_VALUE:
        return "" if column in ("site", "model") else None
    if column in _TEXT:
        return text
    return int(float(text)) if column in _WHOLE else float(text)


@cache
def real_protocols() -> tuple[RealProtocol, ...]:
    """All rows of the table."""
    _, rows = read_tsv(PROTOCOL_TABLE)
    return tuple(
        RealProtocol(**{column: _value(column, row[column]) for column in COLUMNS}) for row in rows
    )
