"""Prepared scans on disk, read slice by slice while training.

Each scan is one ``.npy`` of half-precision slices (Z, X, Y) in its own network units, cut or
padded to ``BOX``, with its statistics in a JSON index beside it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs import frozen

from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import clip_to_network_range, histograms_by_position

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.targets.network_input import NetworkInput

SLICE_SHAPE = (160, 192)
"""In-plane size of the slices, voxels of 1 mm; holds the brains of adults."""


@frozen(eq=False)
class PoolScan:
    """One scan in the pool.

    ``appearance`` describes the scanner (see ``simulated.appearance``); empty for real scans.
    """

    person: str
    site: str
    vendor: str
    modality: str
    file: str
    scale: IntensityScale
    z: NDArray[np.float64]
    positions: NDArray[np.int64]
    histograms: NDArray[np.float64]
    appearance: tuple[float, ...]


@frozen(eq=False)
class ScanPool:
    """All scans, and where their arrays lie."""

    folder: Path
    scans: tuple[PoolScan, ...]

    def data(self, scan: PoolScan) -> NDArray[np.float16]:
        """Slices (Z, X, Y), mapped from disk."""
        out: NDArray[np.float16] = np.load(self.folder / scan.file, mmap_mode="r")
        return out

    def mask(self, scan: PoolScan) -> NDArray[np.uint8]:
        """Brain mask (Z, X, Y), 0 to 255."""
        out: NDArray[np.uint8] = np.load(self.folder / _mask_file(scan), mmap_mode="r")
        return out

    def tissue(self, person: str) -> NDArray[np.uint8]:
        """Tissue shares (3, Z, X, Y) of a simulated person: grey, white, CSF, 0 to 255."""
        out: NDArray[np.uint8] = np.load(self.folder / f"{person}_tissue.npy", mmap_mode="r")
        return out


def _mask_file(scan: PoolScan) -> str:
    return scan.file.replace("_scan.npy", "_mask.npy")


def fit_slices(data: NDArray[Any], fill: float) -> NDArray[Any]:
    """(X, Y, Z) to (Z, *BOX), cut or padded evenly on both sides."""
    out = np.full((data.shape[2], *SLICE_SHAPE), fill, dtype=data.dtype)
    cut, into = [], []
    for size, box in zip(data.shape[:2], SLICE_SHAPE, strict=True):
        start, offset = max(0, (size - box) // 2), max(0, (box - size) // 2)
        width = min(size, box)
        cut.append(slice(start, start + width))
        into.append(slice(offset, offset + width))
    out[:, into[0], into[1]] = np.moveaxis(data[cut[0], cut[1]], 2, 0)
    return out


def add_scan(
    folder: Path,
    on_grid: NetworkInput,
    *,
    person: str,
    site: str,
    vendor: str,
    modality: str,
    appearance: Sequence[float] = (),
) -> PoolScan:
    """Write a scan's arrays and return its entry."""
    data = clip_to_network_range(on_grid.scale.normalize(on_grid.data))
    positions, histograms = histograms_by_position(data, on_grid)
    scan = PoolScan(
        person=person, site=site, vendor=vendor, modality=modality,
        file=f"{person}_{site}_{modality}_scan.npy", scale=on_grid.scale, z=on_grid.z,
        positions=positions, histograms=histograms, appearance=tuple(appearance),
    )  # fmt: skip
    np.save(folder / scan.file, fit_slices(data.astype(np.float16), -1.0))
    np.save(folder / _mask_file(scan), fit_slices((on_grid.mask * 255).astype(np.uint8), 0))
    return scan


def _plain(scan: PoolScan) -> dict[str, Any]:
    values = attrs.asdict(scan)
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}


def write_index(folder: Path, scans: Iterable[PoolScan], record: dict[str, Any]) -> ScanPool:
    """Write the index last: a folder that has one is complete."""
    kept = tuple(scans)
    index = {"record": record, "scans": [_plain(scan) for scan in kept]}
    (folder / "index.json").write_text(json.dumps(index))
    return ScanPool(folder, kept)


def read_index(folder: Path, record: dict[str, Any]) -> ScanPool | None:
    """The pool in a folder, or None where it is unfinished or was made from another
    configuration."""
    path = folder / "index.json"
    if not path.exists():
        return None
    index = json.loads(path.read_text())
    if index["record"] != record:
        return None
    scans = []
    for values in index["scans"]:
        values["scale"] = IntensityScale(**values["scale"])
        values["z"] = np.array(values["z"])
        values["positions"] = np.array(values["positions"], dtype=np.int64)
        values["histograms"] = np.array(values["histograms"])
        values["appearance"] = tuple(values["appearance"])
        scans.append(PoolScan(**values))
    return ScanPool(folder, tuple(scans))
