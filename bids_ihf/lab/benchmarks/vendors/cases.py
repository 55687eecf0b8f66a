"""What the benchmark compares: which scan is brought to which vendor, and by which methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf.lab.benchmarks.vendors.methods import (
    BOUND,
    NONE,
    baseline_names,
    run_baseline,
    run_networks,
    true_match,
)
from bids_ihf.lab.benchmarks.virtual_subjects import OFF_RANGE, cut
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_ihf.lab.benchmarks.vendors.methods import Images
    from bids_ihf.lab.benchmarks.vendors.references import Reference
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.network_input import NetworkInput
    from bids_ihf.targets.profile import Profile

OFF = "off-range"
"""Source of all off-range scanners in the tables."""


@frozen
class Case:
    """A scan, by its name among a person's, and the vendor it is brought to."""

    scanner: str
    target: str

    @property
    def source(self) -> str:
        """What the tables call the scanner."""
        return OFF if self.scanner in OFF_RANGE else self.scanner

    @property
    def own(self) -> bool:
        """Whether the scan is the target's already, so that any change is one too many."""
        return self.scanner == self.target


def cases_of(target: str) -> list[Case]:
    """Every vendor, its own with them, and the off-range scanners to one vendor."""
    return [Case(source, target) for source in (*BUILTIN_VENDORS, *OFF_RANGE)]


@frozen(eq=False)
class Known:
    """What the methods know of a vendor, for one modality."""

    reference: Reference
    profile: Profile


def images_of(
    case: Case,
    scans: Mapping[str, NetworkInput],
    vendors: Mapping[str, Known],
    models: Mapping[str, ModelBundle],
) -> Images:
    """What every method makes of a case.

    A scan that is the target's already is left to doing nothing and the networks.  Networks know
    the vendor that scanned it, as a sidecar tells, where it is one.
    """
    known = vendors[case.target]
    source, truth = cut(scans[case.scanner]), cut(scans[case.target])
    images: Images = {NONE: source.data}
    if not case.own:
        for name in baseline_names():
            images[name] = run_baseline(name, source, known.reference)
    maker = vendors.get(case.scanner)
    images |= run_networks(
        scans[case.scanner], known.profile, models, None if maker is None else maker.profile
    )
    if not case.own:
        images[BOUND] = true_match(source, truth)
    return images
