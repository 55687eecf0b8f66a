"""``ihf benchmark --ranges``: QC measures of the scans of a training pool.

They are the reference ranges and the reference distribution that reports compare images with.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from bids_ihf.anat.harmonize import apply_network
from bids_ihf.anat.intensity_matching import match_intensities
from bids_ihf.anat.qc_statistics import qc_statistics
from bids_ihf.bids.sidecars import to_json
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.pool_scans import (
    on_network_grid,
    open_pool,
    select_scans,
    skull_stripped,
)
from bids_ihf.lab.benchmarks.reference_distribution import fit_reference_distribution
from bids_ihf.qc.measures import image_measures
from bids_ihf.qc.out_of_distribution import (
    REFERENCE_FILE,
    ReferenceScans,
    pack_reference,
)
from bids_ihf.qc.reference_ranges import (
    ABNORMAL_SIDE,
    RANGE_PERCENTILES,
    RANGES_FILE,
    ReferenceRange,
    ReferenceRanges,
    to_dict,
)
from bids_ihf.targets.build import load_target
from bids_ihf.targets.network_input import (
    NetworkInput,
    measure_profile,
    slices_by_position,
)
from bids_ihf.targets.source_profile import SourceProfile
from bids_ihf.targets.target import BUILTIN_VENDORS
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.training.scan_pool import PoolScan, ScanPool
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.profile import Profile

LOGGER = logging.getLogger(__name__)

SCANS_PER_SUBJECT = 16
"""Default number of scans of each subject and modality that are measured."""


@frozen(eq=False)
class MeasuredScan:
    """One scan of the pool.

    Attributes
    ----------
    subject, modality
        Whose scan.
    profile
        The encoder's statistics.
    measures
        QC measures; empty if the scan was not harmonized.
    """

    subject: str
    modality: str
    profile: Profile
    measures: dict[str, float]


def write_ranges(
    folder: Path,
    pool_dir: Path,
    model: ModelBundle,
    *,
    scans_per_subject: int = SCANS_PER_SUBJECT,
) -> ReferenceRanges:
    """Measure scans of a training pool and write ``ranges.json`` and ``familiar.safetensors``.

    Raises
    ------
    BadData
        The pool cannot be used, or a target belongs to another encoder.
    CannotWrite
        A file cannot be written.
    """
    pool, pool_record = open_pool(pool_dir)
    scans = list(measure_scans(pool, model, vendor_profiles(model), scans_per_subject))
    record = {
        "version": __version__,
        "pool": pool_record,
        "harmonized_to": "the vendors in turn",
        "model": model.hash,
        "encoder": model.encoder_hash,
    }
    reference, ranges = summarize_scans(scans, model.encoder_hash, record)
    write_atomic(folder / REFERENCE_FILE, pack_reference(reference))
    write_atomic(folder / RANGES_FILE, to_json(to_dict(ranges)))
    return ranges


def vendor_profiles(model: ModelBundle) -> dict[str, Mapping[str, Profile]]:
    """Profiles of the built-in targets, by vendor and modality."""
    return {vendor: load_target(vendor, model).profiles for vendor in BUILTIN_VENDORS}


def measure_scans(
    pool: ScanPool,
    model: ModelBundle,
    targets: Mapping[str, Mapping[str, Profile]],
    scans_per_subject: int,
) -> Iterator[MeasuredScan]:
    """Scans of each subject and modality of a pool, as they are and skull-stripped.

    Some of them are harmonized to a vendor other than their own.
    """
    selected = select_scans(pool.scans, scans_per_subject)
    for count, (number, harmonized) in enumerate(sorted(selected.items()), start=1):
        scan = pool.scans[number]
        on_grid = on_network_grid(pool, scan)
        LOGGER.info("Measuring %s (%d of %d)", scan.file, count, len(selected))
        stripped = measure_profile(skull_stripped(on_grid), model.encoder)
        yield MeasuredScan(scan.subject, scan.modality, stripped, {})
        if harmonized:
            vendors = [vendor for vendor in BUILTIN_VENDORS if vendor != scan.vendor]
            target = targets[vendors[number % len(vendors)]][scan.modality]
            yield _harmonize_and_measure(scan, on_grid, model, target, targets.get(scan.vendor))
        else:
            profile = measure_profile(on_grid, model.encoder)
            yield MeasuredScan(scan.subject, scan.modality, profile, {})


def _harmonize_and_measure(
    scan: PoolScan,
    on_grid: NetworkInput,
    model: ModelBundle,
    target: Profile,
    manufacturer: Mapping[str, Profile] | None,
) -> MeasuredScan:
    source = None if manufacturer is None else SourceProfile(manufacturer[scan.modality])
    matched = match_intensities(on_grid, target, model, source)
    slices = slices_with_neighbours(on_grid)
    result = matched.with_field(apply_network(matched, model, slices=slices))
    statistics = qc_statistics(matched, result, model, slices)
    measures = {"distance_after": statistics.distances[1], **image_measures(statistics)}
    return MeasuredScan(scan.subject, scan.modality, statistics.before, measures)


def slices_with_neighbours(on_grid: NetworkInput) -> NDArray[np.intp]:
    """The slices that statistics are taken of, and their neighbours, which they depend on."""
    slices = np.array(list(slices_by_position(on_grid).values()))
    near = np.unique(np.concatenate([slices - 1, slices, slices + 1]))
    return near[(near >= 0) & (near < on_grid.grid.shape[2])]


def summarize_scans(
    scans: Sequence[MeasuredScan], encoder: str, record: dict[str, Any]
) -> tuple[ReferenceScans, ReferenceRanges]:
    """The reference distribution and the reference ranges of all scans."""
    ranges, distributions = {}, {}
    counts: dict[str, int] = {}
    for modality in dict.fromkeys(scan.modality for scan in scans):
        selected = [scan for scan in scans if scan.modality == modality]
        distributions[modality], scores = fit_reference_distribution(
            [scan.profile for scan in selected], [scan.subject for scan in selected]
        )
        values = {
            name: [scan.measures[name] for scan in selected if name in scan.measures]
            for name in ABNORMAL_SIDE
        }
        values["out_of_range_score"] = scores
        measured = {name: reference_range(numbers) for name, numbers in values.items()}
        ranges[modality] = {name: usual for name, usual in measured.items() if usual is not None}
        counts[f"{modality}_scans"] = len(selected)
        counts[f"{modality}_harmonized"] = sum(bool(scan.measures) for scan in selected)
    record = {**record, **counts}
    return ReferenceScans(encoder, distributions, record), ReferenceRanges(ranges, record)


def reference_range(values: Sequence[float]) -> ReferenceRange | None:
    """The range of values; None if fewer than two are finite."""
    finite = [value for value in values if np.isfinite(value)]
    if len(finite) < 2:
        return None
    return ReferenceRange(*(float(np.percentile(finite, p)) for p in RANGE_PERCENTILES.values()))
