"""Pairs of a harmonized image and a scan of the target, brought to one grid and measured."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from bids_ihf.errors import BadData, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.volume.grid import Grid
    from bids_ihf.volume.nifti import Volume

LOGGER = logging.getLogger(__name__)

COLUMNS = ("harmonized", "target", "mask", "source")


@frozen
class Pair:
    """Files to compare; ``source`` is the image before harmonization."""

    harmonized: Path
    target: Path
    mask: Path | None = None
    source: Path | None = None


def read_pairs(path: Path) -> list[Pair]:
    """Pairs from a tab-separated file; paths are relative to it, ``n/a`` stands for none.

    Raises
    ------
    UsageError
        The file cannot be read or lacks a column or a row.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read ({error}); check --pairs.") from error
    if not rows or not {"harmonized", "target"} <= set(rows[0]):
        raise UsageError(f"{path}: needs the columns harmonized and target and at least one row.")
    pairs = []
    for row in rows:
        files = {
            key: path.parent / row[key] for key in COLUMNS if row.get(key) not in (None, "", "n/a")
        }
        if not {"harmonized", "target"} <= set(files):
            raise UsageError(f"{path}: a row names no harmonized image or no target; fill it in.")
        pairs.append(Pair(**files))
    return pairs


def measure(pair: Pair) -> list[dict[str, Any]]:
    """Rows of measures: the harmonized image, and with a source also it and its baselines.

    Raises
    ------
    BadData
        A file cannot be used, or the images do not show the same brain.
    """
    from bids_ihf.volume.nifti import read_volume

    target = read_volume(pair.target)
    grid = upright_grid(target)
    reference = _onto(target, grid)
    mask = _mask(pair, target, grid)
    candidates = {"harmonized": _onto(read_volume(pair.harmonized), grid)}
    if pair.source is not None:
        candidates |= _baselines(_onto(read_volume(pair.source), grid), reference, mask)
    return [
        {
            "harmonized": str(pair.harmonized),
            "target": str(pair.target),
            "method": method,
            **_compare(image, reference, mask, pair),
        }
        for method, image in candidates.items()
    ]


def _compare(
    image: NDArray[np.float32], target: NDArray[np.float32], mask: NDArray[np.bool_], pair: Pair
) -> dict[str, float]:
    from bids_ihf.evaluation.metrics import evaluate_pair

    try:
        return evaluate_pair(image, target, mask)
    except ValueError as error:
        raise BadData(f"{pair.target}: cannot be compared ({error}); check the files.") from error


def _baselines(
    source: NDArray[np.float32], target: NDArray[np.float32], mask: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    """The source as it is and matched by simple means; Nyul only where its package is there."""
    from bids_ihf.evaluation.baselines import has_extra, histogram_matching, nyul

    rows = {
        "unharmonized": source,
        "histogram matching": histogram_matching(source, mask, target, mask),
    }
    if has_extra():
        rows["Nyul"] = nyul(source, mask, [target], [mask])
    return rows


def upright_grid(volume: Volume) -> Grid:
    """The grid of a volume with its axes turned to right, front, top: nothing is interpolated."""
    import nibabel

    from bids_ihf.volume.grid import Grid

    codes = nibabel.orientations.io_orientation(volume.affine)
    shape = volume.data.shape
    turned = [shape[int(np.flatnonzero(codes[:, 0] == axis)[0])] for axis in range(3)]
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(codes, shape)
    return Grid((turned[0], turned[1], turned[2]), affine)


def _onto(volume: Volume, grid: Grid, order: int = 1) -> NDArray[np.float32]:
    """A volume on a grid, by its world coordinates; voxels that coincide are copied."""
    from bids_ihf.volume.grid import Grid, resample

    shape = volume.data.shape
    own = Grid((shape[0], shape[1], shape[2]), volume.affine)
    return resample(volume.data, own, grid, order=order)


def _mask(pair: Pair, target: Volume, grid: Grid) -> NDArray[np.bool_]:
    """The mask that was given, else one made from the target."""
    from bids_ihf.spatial.mask import brain_mask
    from bids_ihf.volume.nifti import read_volume

    if pair.mask is not None:
        return _onto(read_volume(pair.mask), grid, order=0) > 0
    LOGGER.info("%s: no mask given, making one", pair.target)
    own = brain_mask(target.data, target.affine).astype(np.float32)
    return _onto(type(target)(own, target.affine, target.header, target.path), grid, order=0) > 0
