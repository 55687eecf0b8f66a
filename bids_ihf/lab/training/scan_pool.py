"""Prepared scans on disk, read slice by slice during training.

Each scan is one ``.npy`` of half-precision slices (Z, X, Y) in network units, cropped or padded to
`SLICE_SHAPE`, with its statistics in a JSON index beside it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs import frozen

from bids_ihf.io.atomic import write_atomic
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import clip_to_network_range, histograms_by_position

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.targets.network_input import NetworkInput

SLICE_SHAPE = (160, 192)
"""In-plane size of the slices, voxels of 1 mm: enough for the brains of adults."""

INDEX_FILE = "index.json"
"""Index of a pool in its folder."""


@frozen(eq=False)
class PoolScan:
    """One scan in the pool.

    z: (Z,) axial template coordinate of each slice, mm.
    positions, histograms: those of the scan's profile.
    """

    subject: str
    site: str
    vendor: str
    modality: str
    file: str
    scale: IntensityScale
    z: NDArray[np.float64]
    positions: NDArray[np.int64]
    histograms: NDArray[np.float64]


@frozen(eq=False)
class ScanPool:
    """All scans, and the folder of their arrays."""

    folder: Path
    scans: tuple[PoolScan, ...]

    def data(self, scan: PoolScan) -> NDArray[np.float16]:
        """Slices (Z, X, Y), mapped from disk."""
        data: NDArray[np.float16] = np.load(self.folder / scan.file, mmap_mode="r")
        return data

    def mask(self, scan: PoolScan) -> NDArray[np.uint8]:
        """Brain mask (Z, X, Y), 0 to 255."""
        mask: NDArray[np.uint8] = np.load(self.folder / _mask_file(scan), mmap_mode="r")
        return mask


def _mask_file(scan: PoolScan) -> str:
    return scan.file.replace("_scan.npy", "_mask.npy")


def fit_slices(data: NDArray[Any], fill: float) -> NDArray[Any]:
    """Slices (Z, *SLICE_SHAPE) of a volume (X, Y, Z), cropped or padded evenly on both sides.

    >>> fit_slices(np.zeros((150, 200, 3)), -1.0).shape
    (3, 160, 192)
    """
    slices = np.full((data.shape[2], *SLICE_SHAPE), fill, dtype=data.dtype)
    source, target = [], []
    for size, fitted in zip(data.shape[:2], SLICE_SHAPE, strict=True):
        start, offset = max(0, (size - fitted) // 2), max(0, (fitted - size) // 2)
        width = min(size, fitted)
        source.append(slice(start, start + width))
        target.append(slice(offset, offset + width))
    slices[:, target[0], target[1]] = np.moveaxis(data[source[0], source[1]], 2, 0)
    return slices


def add_scan(
    folder: Path,
    on_grid: NetworkInput,
    *,
    subject: str,
    site: str,
    vendor: str,
    modality: str,
) -> PoolScan:
    """Write a scan's arrays and return its entry."""
    data = clip_to_network_range(on_grid.scale.normalize(on_grid.data))
    positions, histograms = histograms_by_position(data, on_grid)
    scan = PoolScan(
        subject=subject, site=site, vendor=vendor, modality=modality,
        file=f"{subject}_{site}_{modality}_scan.npy", scale=on_grid.scale, z=on_grid.z,
        positions=positions, histograms=histograms,
    )  # fmt: skip
    np.save(folder / scan.file, fit_slices(data.astype(np.float16), -1.0))
    np.save(folder / _mask_file(scan), fit_slices((on_grid.mask * 255).astype(np.uint8), 0))
    return scan


def _to_json(scan: PoolScan) -> dict[str, Any]:
    values = attrs.asdict(scan)
    values["person"] = values.pop("subject")  # the key of existing pools
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}


def _from_json(values: dict[str, Any]) -> PoolScan:
    return PoolScan(
        subject=values["person"],
        site=values["site"],
        vendor=values["vendor"],
        modality=values["modality"],
        file=values["file"],
        scale=IntensityScale(**values["scale"]),
        z=np.array(values["z"]),
        positions=np.array(values["positions"], dtype=np.int64),
        histograms=np.array(values["histograms"]),
    )


def write_index(folder: Path, scans: Iterable[PoolScan], record: dict[str, Any]) -> ScanPool:
    """Write the index last: a folder with an index is complete."""
    pool = ScanPool(folder, tuple(scans))
    index = {"record": record, "scans": [_to_json(scan) for scan in pool.scans]}
    write_atomic(folder / INDEX_FILE, json.dumps(index).encode())
    return pool


def read_index(folder: Path, record: dict[str, Any]) -> ScanPool | None:
    """The pool in a folder, or None if it is incomplete or has another record."""
    path = folder / INDEX_FILE
    if not path.exists():
        return None
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # of a version that could be interrupted while it wrote
        return None
    if index["record"] != record:
        return None
    return ScanPool(folder, tuple(_from_json(values) for values in index["scans"]))
