"""Scans of a training pool to measure: which ones, and how they were on the network's grid."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid
from bids_ihf.lab.training.scan_pool import INDEX_FILE, read_index
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import BRAIN_MARGIN_VOXELS, NETWORK_VOXEL_MM, NetworkInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_ihf.lab.training.scan_pool import PoolScan, ScanPool

HARMONIZED_STRIDE = 4
"""Every how many scans one is harmonized, too; the statistics are taken of all."""


def open_pool(folder: Path) -> tuple[ScanPool, dict[str, Any]]:
    """A pool that `reference_pool` has made, and the record of how.

    Raises
    ------
    BadData
        There is no finished pool.
    """
    try:
        record = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))["record"]
        pool = read_index(folder, record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(
            f"{folder}: contains no finished pool of scans ({error}); make one with "
            "'python -m bids_ihf.lab.training.reference_pool'."
        ) from error
    if pool is None or not pool.scans:
        raise BadData(f"{folder}: its pool of scans is empty; name another.")
    return pool, record


def select_scans(scans: Sequence[PoolScan], scans_per_subject: int) -> dict[int, bool]:
    """Indices of scans of each subject and modality, and whether each is harmonized.

    Vendors alternate, and the first one changes from subject to subject.
    """
    selected: dict[int, bool] = {}
    subjects = list(dict.fromkeys(scan.subject for scan in scans))
    for turn, subject in enumerate(subjects):
        for modality in dict.fromkeys(scan.modality for scan in scans):
            by_vendor: dict[str, list[int]] = {}
            for number, scan in enumerate(scans):
                if (scan.subject, scan.modality) == (subject, modality):
                    by_vendor.setdefault(scan.vendor, []).append(number)
            order = _alternating(list(by_vendor.values()), turn)[:scans_per_subject]
            selected |= {number: k % HARMONIZED_STRIDE == 0 for k, number in enumerate(order)}
    return selected


def _alternating(groups: Sequence[list[int]], first: int) -> list[int]:
    """One element of each group in turn until all are used, beginning with group ``first``."""
    first %= len(groups)
    rotated = [*groups[first:], *groups[:first]]
    rounds = range(max(map(len, groups)))
    return [group[k] for k in rounds for group in rotated if k < len(group)]


def on_network_grid(pool: ScanPool, scan: PoolScan) -> NetworkInput:
    """A scan of a pool in network units, with the frame it had before it was stored.

    What the encoder's coarse feature maps see depends on where the frame begins.
    """
    stored = np.asarray(pool.mask(scan))
    margin, box = BRAIN_MARGIN_VOXELS, []
    for axes in ((0, 2), (0, 1)):
        brain = np.flatnonzero((stored > 0).any(axis=axes))
        box.append(slice(max(0, int(brain[0]) - margin), int(brain[-1]) + margin + 1))
    data, mask = (
        np.ascontiguousarray(np.moveaxis(array[(slice(None), *box)], 0, 2), dtype=np.float32)
        for array in (pool.data(scan), stored)
    )
    mask /= np.float32(255)
    affine = np.diag([NETWORK_VOXEL_MM, NETWORK_VOXEL_MM, NETWORK_VOXEL_MM, 1.0])
    affine[2, 3] = scan.z[0]
    scale = IntensityScale(-1.0, 1.0)
    return NetworkInput(data, mask, Grid(data.shape, affine), scale, modality=scan.modality)


def skull_stripped(on_grid: NetworkInput) -> NetworkInput:
    """The scan without signal outside the brain, which changes what the encoder sees near it."""
    brain = on_grid.mask > 0.5
    return attrs.evolve(on_grid, data=np.where(brain, on_grid.data, np.float32(-1)))
