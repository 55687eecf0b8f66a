"""Vendors as populations: the protocols of their real scanners."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve

from bids_ihf.lab.simulation.completion import Completion, complete_protocol
from bids_ihf.lab.simulation.protocol_table import real_protocols
from bids_ihf.lab.simulation.signal_equations import brain_contrast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.protocol import Protocol
    from bids_ihf.lab.simulation.protocol_table import RealProtocol

ANY_VENDOR = "any"
"""Stands for all vendors together, and for the rows whose vendor is unknown."""

FLIP_ANGLE_VARIATION = 0.01
"""Standard deviation of the flip angle between scans, relative to its value."""

PLAUSIBLE_CONTRAST = {
    "T1w": {"grey": (0.40, 0.96), "csf": (0.02, 0.80)},
    "T2w": {"grey": (1.05, 2.40), "csf": (1.25, 10.0)},
    "FLAIR": {"grey": (1.02, 1.90), "csf": (-0.01, 0.75)},
}
"""Signal relative to white matter; protocols outside are no image of the modality."""


def is_plausible(protocol: Protocol) -> bool:
    """Whether the tissues of the brain have the order of intensities of the modality."""
    ratio = brain_contrast(protocol)
    bounds = PLAUSIBLE_CONTRAST[protocol.modality]
    in_bounds = all(low < ratio[name] < high for name, (low, high) in bounds.items())
    ordered = ratio["csf"] > 1.1 * ratio["grey"]
    return in_bounds and ordered == (protocol.modality == "T2w")


@cache
def population(vendor: str, modality: str) -> tuple[RealProtocol, ...]:
    """The real protocols of a vendor and modality; of all vendors for `ANY_VENDOR`."""
    return tuple(
        real
        for real in real_protocols()
        if real.modality == modality and vendor in (real.vendor, ANY_VENDOR)
    )


@cache
def _weights(vendor: str, modality: str) -> tuple[float, ...]:
    """Probabilities of the protocols: a dataset counts as the root of its number of protocols,
    so that a study that prescribes one protocol to forty sites is not half of the vendor."""
    datasets = [real.dataset for real in population(vendor, modality)]
    counts = Counter(datasets)
    weights = np.array([counts[name] ** -0.5 for name in datasets])
    return tuple((weights / weights.sum()).tolist())


def draw_real_protocol(vendor: str, modality: str, generator: np.random.Generator) -> RealProtocol:
    """One of the real protocols of a vendor, or of `ANY_VENDOR`."""
    rows = population(vendor, modality)
    return rows[int(generator.choice(len(rows), p=_weights(vendor, modality)))]


def typical_row(vendor: str, modality: str) -> RealProtocol:
    """The typical research protocol of a vendor, which its target stands for."""
    return next(real for real in population(vendor, modality) if real.target)


def typical_protocol(vendor: str, modality: Modality) -> Protocol:
    """The protocol of a vendor's target; what no sidecar states is at the middle of its range."""
    return complete_protocol(typical_row(vendor, modality), vendor, Completion())


def typical_protocol_records(vendor: str, modalities: Iterable[str]) -> dict[str, str]:
    """What the record of a vendor's target says of its protocols.

    >>> typical_protocol_records("GE", ["T2w"])["T2w_protocol"].split(": ")[1]
    '3 T, TE 66.83 ms, TR 3.2 s, flip angle 90 degrees'
    """
    return {
        f"{modality}_protocol": typical_row(vendor, modality).summary for modality in modalities
    }


def draw_protocol(
    vendor: str, modality: Modality, generator: np.random.Generator
) -> tuple[Protocol, RealProtocol]:
    """A protocol of a vendor (or `ANY_VENDOR`) with a plausible contrast, and the real one that
    it was made of."""
    while True:
        real = draw_real_protocol(vendor, modality, generator)
        name = real.vendor if vendor == ANY_VENDOR else vendor
        protocol = complete_protocol(real, name, Completion(generator))
        if is_plausible(protocol):
            return protocol, real


def vary_calibration(protocol: Protocol, generator: np.random.Generator) -> Protocol:
    """Vary the flip angle a little, as calibration does from scan to scan."""
    flip_angle = protocol.flip_angle * (1 + FLIP_ANGLE_VARIATION * generator.standard_normal())
    return evolve(protocol, flip_angle=float(flip_angle))
