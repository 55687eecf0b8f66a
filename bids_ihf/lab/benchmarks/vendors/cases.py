"""Cases of the vendor benchmark: which scan is harmonized to which vendor, by which methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf.lab.benchmarks.vendors.methods import (
    NO_HARMONIZATION,
    TRUE_SCAN_MATCHING,
    baseline_names,
    match_true_scan,
    run_baseline,
    run_comparators,
    run_networks,
    target_scan,
)
from bids_ihf.lab.benchmarks.virtual_subjects import (
    OFF_RANGE_SCANNERS,
    SITE_SUFFIX,
    measured_slices,
    select_slices,
)
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_ihf.lab.benchmarks.vendors.methods import Images
    from bids_ihf.lab.benchmarks.vendors.reference_scans import PooledReference
    from bids_ihf.lab.comparators.learned.weights import LoadedComparator
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.network_input import NetworkInput
    from bids_ihf.targets.profile import Profile

OFF_RANGE_GROUP = "off-range"
"""Source of all off-range scanners in the tables."""

SAME_SCANNER = "own scanner"
"""Source, in the tables, of the scan by the target's scanner."""


@frozen
class Case:
    """A scan, by its scanner, and the vendor it is harmonized to."""

    scanner: str
    target: str

    @property
    def source(self) -> str:
        """What the tables call the scanner: its vendor, unless it has none or is the target's."""
        if self.same_scanner:
            return SAME_SCANNER
        return OFF_RANGE_GROUP if self.vendor is None else self.vendor

    @property
    def vendor(self) -> str | None:
        """The vendor, as a sidecar would state it; None of an off-range scanner."""
        if self.scanner in OFF_RANGE_SCANNERS:
            return None
        return self.scanner.removesuffix(SITE_SUFFIX)

    @property
    def same_scanner(self) -> bool:
        """Whether the target's scanner made the scan, so that any change is an error."""
        return self.scanner == self.target


def cases_of(target: str) -> list[Case]:
    """The target's own scanner, one of each vendor's population, and the off-range scanners."""
    sites = [f"{vendor}{SITE_SUFFIX}" for vendor in BUILTIN_VENDORS]
    return [Case(scanner, target) for scanner in (target, *sites, *OFF_RANGE_SCANNERS)]


@frozen(eq=False)
class VendorKnowledge:
    """What the methods know of a vendor, for one modality."""

    reference: PooledReference
    profile: Profile


def harmonize_case(
    case: Case,
    scans: Mapping[str, NetworkInput],
    vendors: Mapping[str, VendorKnowledge],
    models: Mapping[str, ModelBundle],
    comparators: Mapping[str, Sequence[LoadedComparator]],
) -> Images:
    """The images of a case by method.

    A scan by the target's scanner is left to what was trained, and to no harmonization.  Networks
    know the vendor of the source scan, as from a sidecar, unless it is off-range.
    """
    target = vendors[case.target]
    source, truth = select_slices(scans[case.scanner]), select_slices(scans[case.target])
    images: Images = {NO_HARMONIZATION: source.data}
    if not case.same_scanner:
        for name in baseline_names():
            images[name] = run_baseline(name, source, target.reference)
    manufacturer = vendors.get(case.vendor or "")
    images |= run_networks(
        scans[case.scanner],
        target.profile,
        models,
        None if manufacturer is None else manufacturer.profile,
    )
    images |= run_comparators(
        scans[case.scanner],
        measured_slices(scans[case.scanner]),
        target_scan(case.target, target.reference.slices, target.profile, source),
        comparators,
        case.vendor,
    )
    if not case.same_scanner:
        images[TRUE_SCAN_MATCHING] = match_true_scan(source, truth)
    return images
