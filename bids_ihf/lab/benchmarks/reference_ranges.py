"""``ihf benchmark --ranges``: the measures of the scans a network was trained on, against which
those of others are held."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs import frozen

from bids_ihf.errors import BadData
from bids_ihf.qc.out_of_distribution import REFERENCE_FILE as FAMILIAR
from bids_ihf.qc.out_of_distribution import (
    ReferenceScans,
    fit_reference_distribution,
    pack_reference,
)
from bids_ihf.qc.reference_ranges import (
    ABNORMAL_SIDE,
    RANGES_FILE,
    ReferenceRanges,
    reference_range,
    to_dict,
)
from bids_ihf.targets.target import BUILTIN_VENDORS
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.training.scan_pool import PoolScan, ScanPool
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.network_input import NetworkInput
    from bids_ihf.targets.profile import Profile

LOGGER = logging.getLogger(__name__)

SCANS = 16
"""Scans of each person and modality that are looked at, unless told otherwise."""

PART = 4
"""One of so many is harmonized and measured too; statistics are taken of all."""


@frozen(eq=False)
class Seen:
    """One scan of the pool: of whom, its statistics, and its measures where it was harmonized."""

    person: str
    modality: str
    profile: Profile
    measures: dict[str, float]


def write_ranges(
    folder: Path, pool_dir: Path, model: ModelBundle, *, scans: int = SCANS
) -> ReferenceRanges:
    """Measure ``scans`` of each person and modality of a training pool, and write ``ranges.json``
    and ``familiar.safetensors``.

    Raises
    ------
    BadData
        The pool cannot be used, or a target belongs to another encoder.
    CannotWrite
        A file cannot be written.
    """
    from bids_ihf.bids.sidecars import to_json
    from bids_ihf.io.atomic import write_atomic

    pool, made = open_pool(pool_dir)
    targets = vendor_profiles(model)
    seen = list(look_at(pool, model, targets, scans))
    record = {
        "version": __version__,
        "pool": made,
        "harmonized_to": "the vendors in turn",
        "model": model.hash,
        "encoder": model.encoder_hash,
    }
    reference, ranges = evaluate(seen, model.encoder_hash, record)
    write_atomic(folder / FAMILIAR, pack_reference(reference))
    write_atomic(folder / RANGES_FILE, to_json(to_dict(ranges)))
    return ranges


def open_pool(folder: Path) -> tuple[ScanPool, dict[str, Any]]:
    """A pool that ``ihf train`` left, and the record of how it was made.

    Raises
    ------
    BadData
        There is no finished pool.
    """
    from bids_ihf.lab.training.scan_pool import read_index

    try:
        record = json.loads((folder / "index.json").read_text(encoding="utf-8"))["record"]
        pool = read_index(folder, record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(
            f"{folder}: holds no finished pool of scans ({error}); name the 'pool' folder of a "
            "training."
        ) from error
    if pool is None or not pool.scans:
        raise BadData(f"{folder}: its pool of scans is empty; name another.")
    return pool, record


def vendor_profiles(model: ModelBundle) -> dict[str, Mapping[str, Profile]]:
    """Profiles of the built-in targets, by vendor and modality."""
    from bids_ihf.targets.build import load_target

    return {vendor: load_target(vendor, model).profiles for vendor in BUILTIN_VENDORS}


def look_at(
    pool: ScanPool, model: ModelBundle, targets: Mapping[str, Mapping[str, Profile]], count: int
) -> Iterable[Seen]:
    """``count`` scans of each person and modality of a pool, whole and stripped; one of PART is
    harmonized to a vendor that is not its own."""
    from bids_ihf.anat.harmonize import apply_network
    from bids_ihf.anat.intensity_matching import match_intensities
    from bids_ihf.anat.qc_statistics import qc_statistics
    from bids_ihf.qc.measures import image_measures
    from bids_ihf.targets.network_input import measure_profile
    from bids_ihf.targets.source_profile import SourceProfile

    picked = chosen(pool.scans, count)
    for done, (number, harmonized) in enumerate(sorted(picked.items()), start=1):
        scan = pool.scans[number]
        on_grid = on_grid_of(pool, scan)
        LOGGER.info("Looking at %s (%d of %d)", scan.file, done, len(picked))
        bare = measure_profile(stripped(on_grid), model.encoder)
        yield Seen(scan.subject, scan.modality, bare, {})
        if not harmonized:
            yield Seen(scan.subject, scan.modality, measure_profile(on_grid, model.encoder), {})
            continue
        vendors = [vendor for vendor in BUILTIN_VENDORS if vendor != scan.vendor]
        profile = targets[vendors[number % len(vendors)]][scan.modality]
        own = targets.get(scan.vendor)
        source = None if own is None else SourceProfile(own[scan.modality])
        matched = match_intensities(on_grid, profile, model, source)
        slices = measured_slices(on_grid)
        result = apply_network(matched, model, slices=slices)
        evidence = qc_statistics(matched, result, model, slices)
        measures = {"distance_after": evidence.distances[1], **image_measures(evidence)}
        yield Seen(scan.subject, scan.modality, evidence.before, measures)


def chosen(scans: Sequence[PoolScan], count: int) -> dict[int, bool]:
    """Numbers of ``count`` scans of each person and modality, and whether each is harmonized.

    Makers follow each other, and the first one changes from person to person.
    """
    found: dict[int, bool] = {}
    people = list(dict.fromkeys(scan.subject for scan in scans))
    for turn, person in enumerate(people):
        for modality in dict.fromkeys(scan.modality for scan in scans):
            own: dict[str, list[int]] = {}
            for number, scan in enumerate(scans):
                if (scan.subject, scan.modality) == (person, modality):
                    own.setdefault(scan.vendor, []).append(number)
            order = _by_turns(list(own.values()), turn)[:count]
            found |= {number: place % PART == 0 for place, number in enumerate(order)}
    return found


def _by_turns(groups: Sequence[list[int]], turn: int) -> list[int]:
    """One of each group after the other until all are through, beginning with group ``turn``."""
    start = turn % len(groups)
    turned = [*groups[start:], *groups[:start]]
    rounds = range(max(map(len, groups)))
    return [group[place] for place in rounds for group in turned if place < len(group)]


def on_grid_of(pool: ScanPool, scan: PoolScan) -> NetworkInput:
    """A scan of a pool in network units, framed as it was before it was stored: what the encoder's
    coarse maps see depends on where the frame begins."""
    from bids_ihf.geometry.grid import Grid
    from bids_ihf.targets.intensity import IntensityScale
    from bids_ihf.targets.network_input import BRAIN_MARGIN_VOXELS, NETWORK_VOXEL_MM, NetworkInput

    stored = np.asarray(pool.mask(scan))
    rows, columns = (np.flatnonzero((stored > 0).any(axis=axes)) for axes in ((0, 2), (0, 1)))
    box = tuple(
        slice(max(0, int(seen[0]) - BRAIN_MARGIN_VOXELS), int(seen[-1]) + BRAIN_MARGIN_VOXELS + 1)
        for seen in (rows, columns)
    )
    data, mask = (
        np.ascontiguousarray(np.moveaxis(array[(slice(None), *box)], 0, 2), dtype=np.float32)
        for array in (pool.data(scan), stored)
    )
    mask /= np.float32(255)
    affine = np.diag([NETWORK_VOXEL_MM, NETWORK_VOXEL_MM, NETWORK_VOXEL_MM, 1.0])
    affine[2, 3] = scan.z[0]
    return NetworkInput(data, mask, Grid(data.shape, affine), IntensityScale(-1.0, 1.0))


def stripped(on_grid: NetworkInput) -> NetworkInput:
    """Without signal outside the brain: what the encoder sees near its edge is another thing."""
    inside = on_grid.mask > 0.5
    return attrs.evolve(on_grid, data=np.where(inside, on_grid.data, np.float32(-1)))


def measured_slices(on_grid: NetworkInput) -> NDArray[np.intp]:
    """The slices that statistics are taken of, and their neighbours, which these look at."""
    from bids_ihf.targets.network_input import slices_by_position

    middle = np.array(list(slices_by_position(on_grid).values()))
    near = np.unique(np.concatenate([middle - 1, middle, middle + 1]))
    return near[(near >= 0) & (near < on_grid.grid.shape[2])]


def evaluate(
    scans: Sequence[Seen], encoder: str, record: dict[str, Any]
) -> tuple[ReferenceScans, ReferenceRanges]:
    """Known scans and ranges from what was seen."""
    modalities, familiar = {}, {}
    counts: dict[str, int] = {}
    for modality in dict.fromkeys(scan.modality for scan in scans):
        own = [scan for scan in scans if scan.modality == modality]
        known, scores = fit_reference_distribution(
            [scan.profile for scan in own], [scan.person for scan in own]
        )
        familiar[modality] = known
        values = {
            name: [s.measures[name] for s in own if name in s.measures] for name in ABNORMAL_SIDE
        }
        values["out_of_range_score"] = scores
        found = {name: reference_range(each) for name, each in values.items()}
        modalities[modality] = {name: each for name, each in found.items() if each is not None}
        measured = sum(bool(scan.measures) for scan in own)
        counts |= {f"{modality}_scans": len(own), f"{modality}_harmonized": measured}
    record = {**record, **counts}
    return ReferenceScans(encoder, familiar, record), ReferenceRanges(modalities, record)
