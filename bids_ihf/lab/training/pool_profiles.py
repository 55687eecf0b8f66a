"""Profiles of the scans of a pool, and the targets of their sites."""

from __future__ import annotations

import copy
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from bids_ihf.lab.training.batch_sampling import slice_with_neighbours, usable_slices
from bids_ihf.targets.landmarks import slice_statistics
from bids_ihf.targets.profile import Profile, merge_profiles, slice_position
from bids_ihf.targets.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_ihf.lab.training.scan_pool import PoolScan, ScanPool
    from bids_ihf.network.encoder import Encoder


def pool_profiles(pool: ScanPool, encoder: Encoder, processes: int) -> dict[str, Profile]:
    """The profile of every scan, by its file."""
    if processes == 1:
        return _profiles(pool, encoder)
    portions = [attrs.evolve(pool, scans=pool.scans[k::processes]) for k in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers:
        results = workers.map(_profiles, portions, repeat(copy.deepcopy(encoder).cpu()))
        return {file: profile for result in results for file, profile in result.items()}


def _profiles(pool: ScanPool, encoder: Encoder) -> dict[str, Profile]:
    return {scan.file: _profile(pool, scan, encoder) for scan in pool.scans}


def _profile(pool: ScanPool, scan: PoolScan, encoder: Encoder) -> Profile:
    """The profile of a scan, from the middle usable slice of each slice position."""
    data, mask = pool.data(scan), pool.mask(scan)
    usable = usable_slices(mask)
    position_of_slice = slice_position(scan.z[usable])
    positions = np.unique(position_of_slice)
    indices = []
    for position in positions:
        slices = usable[position_of_slice == position]
        indices.append(int(slices[len(slices) // 2]))
    x = np.stack([slice_with_neighbours(data, index) for index in indices])
    statistics = slice_statistics(
        encoder.for_modality(scan.modality), x, mask[indices].astype(np.float32) / np.float32(255)
    )
    return Profile(
        positions,
        scan.histograms[np.searchsorted(scan.positions, positions)],
        statistics.embeddings,
        statistics.landmarks,
        statistics.tissue_histograms,
        scan.scale,
    )


def site_targets(
    pool: ScanPool, profiles: Mapping[str, Profile], encoder_hash: str, record: Mapping[str, Any]
) -> list[Target]:
    """The target of each site in the pool, from all its subjects."""
    groups: dict[str, dict[str, list[Profile]]] = defaultdict(lambda: defaultdict(list))
    for scan in pool.scans:
        groups[scan.site][scan.modality].append(profiles[scan.file])
    targets = []
    for site, modalities in groups.items():
        merged = {modality: merge_profiles(scans) for modality, scans in modalities.items()}
        targets.append(Target(site, encoder_hash, merged, provenance=record))
    return targets
