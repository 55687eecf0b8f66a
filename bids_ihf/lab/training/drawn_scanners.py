"""Which scanners a row of training is between, and what is known of the source's: alike for
anatomical scans and for the maps of diffusion series."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from attrs import frozen

from bids_ihf.lab.simulation.random_protocols import RANDOM_VENDOR
from bids_ihf.targets.target import BUILTIN_VENDORS

TYPICAL_TARGET_PROBABILITY = 0.6
"""Probability that the target is the typical scanner of a vendor, as it is shipped."""

VENDOR_SCANNER_PROBABILITY = 0.5
"""Probability that any other scanner is one of a vendor, and not of the wider random ones."""

KNOWN_VENDOR_PROBABILITY = 0.5
"""Probability that the vendor of the source is known, if it has one."""

OWN_SCANNER_PROBABILITY = 0.2
"""Probability that else the source scanner's profile from other subjects is available."""

AnyScanner = TypeVar("AnyScanner")


@frozen
class Drawn(Generic[AnyScanner]):
    """A scanner and its vendor; ``typical`` if it is the one behind the vendor's target."""

    scanner: AnyScanner
    vendor: str
    typical: bool = False


def draw(
    of_vendor: Callable[[str, int], AnyScanner],
    of_any: Callable[[int], AnyScanner],
    rng: np.random.Generator,
) -> Drawn[AnyScanner]:
    """A scanner of a vendor, made by its name and a seed, or a random one by a seed."""
    seed = int(rng.integers(2**31))
    if rng.random() < VENDOR_SCANNER_PROBABILITY:
        vendor = str(rng.choice(BUILTIN_VENDORS))
        return Drawn(of_vendor(vendor, seed), vendor)
    return Drawn(of_any(seed), RANDOM_VENDOR)


def draw_target(
    typical: Callable[[str, int], AnyScanner],
    draw_other: Callable[[], Drawn[AnyScanner]],
    rng: np.random.Generator,
) -> Drawn[AnyScanner]:
    """The typical scanner of a vendor, made by its name and a seed, or another one."""
    if rng.random() >= TYPICAL_TARGET_PROBABILITY:
        return draw_other()
    vendor = str(rng.choice(BUILTIN_VENDORS))
    return Drawn(typical(vendor, int(rng.integers(2**31))), vendor, typical=True)


def knows_vendor(source: Drawn[AnyScanner], rng: np.random.Generator) -> bool:
    """Whether the vendor of a source is known; that of a random scanner never is."""
    return source.vendor != RANDOM_VENDOR and rng.random() < KNOWN_VENDOR_PROBABILITY


def knows_scanner(rng: np.random.Generator) -> bool:
    """Whether, where the vendor is not known, the profile of the source's scanner is."""
    return rng.random() < OWN_SCANNER_PROBABILITY
