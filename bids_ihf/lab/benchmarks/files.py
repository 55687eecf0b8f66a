"""Evaluation of image files: each harmonized image against a scan of the target on its grid."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from bids_ihf.errors import BadData
from bids_ihf.lab.benchmarks.metrics.similarity import similarity_metrics
from bids_ihf.lab.comparators.baselines import has_extra, histogram_matching, nyul

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.io.nifti import Volume
    from bids_ihf.lab.benchmarks.table import Row

LOGGER = logging.getLogger(__name__)

SAME_PLACE = 1e-3
"""Largest difference of two affines' elements (mm) that counts as none."""
HARMONIZED = "harmonized"
UNHARMONIZED = "unharmonized"
MATCHED = "histogram matching"
NYUL = "Nyul"


@frozen
class Pair:
    """What to compare.

    Attributes
    ----------
    harmonized, target
        Images on the same grid, aligned.
    mask
        One brain mask for both, on their grid; None takes the intersection of a mask of each.
    source
        The image before harmonization, for the rows of the baselines.
    """

    harmonized: Path
    target: Path
    mask: Path | None = None
    source: Path | None = None


def evaluate_files(pairs: Sequence[Pair]) -> list[Row]:
    """Measures of each pair, and of the baselines where the pair's source is given.

    The baselines are no harmonization, histogram matching and, where the package
    ``intensity-normalization`` is installed, Nyul; the target scan itself is their reference.

    Raises
    ------
    BadData
        A file cannot be read or used, or two files of a pair are not on the same grid.
    """
    return [row for pair in pairs for row in _rows(pair)]


def _rows(pair: Pair) -> Iterator[Row]:
    harmonized, target = _read(pair.harmonized), _read(pair.target)
    require_same_grid(harmonized, target)
    mask = _mask(pair, harmonized, target)
    volumes = {HARMONIZED: harmonized.data}
    if pair.source is not None:
        source = _read(pair.source)
        require_same_grid(source, target)
        volumes = _baselines(source.data, target.data, mask) | volumes
    for method, data in volumes.items():
        yield _describe(pair, method) | _measure(pair, data, target, mask)


def _describe(pair: Pair, method: str) -> Row:
    from bids_ihf.bids.names import parse_name
    from bids_ihf.errors import InvalidBIDS

    try:
        subject = parse_name(pair.harmonized).get("sub")
    except InvalidBIDS:
        subject = None
    # A file outside BIDS is taken as a subject of its own.
    return {
        "subject": subject or pair.harmonized.name.split(".")[0],
        "harmonized": str(pair.harmonized),
        "target": str(pair.target),
        "method": method,
    }


def _measure(
    pair: Pair, data: NDArray[np.float32], target: Volume, mask: NDArray[np.bool_]
) -> Row:
    axial = [_to_axial(array, target.affine) for array in (data, target.data, mask)]
    try:
        return dict(similarity_metrics(axial[0], axial[1], axial[2].astype(bool)))
    except ValueError as error:
        raise BadData(
            f"{pair.harmonized} and {pair.target}: {error}; check the images and the mask."
        ) from error


def _to_axial(data: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """Turn the axes to right, anterior, superior, so that the third one crosses axial slices."""
    from nibabel.orientations import apply_orientation, io_orientation

    turned: NDArray[Any] = apply_orientation(data, io_orientation(affine))
    return turned


def _baselines(
    source: NDArray[np.float32], target: NDArray[np.float32], mask: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    found = {
        UNHARMONIZED: source,
        MATCHED: histogram_matching(source, mask, target, mask),
    }
    if has_extra():
        found[NYUL] = nyul(source, mask, [target], [mask])
    else:
        LOGGER.warning("No rows for Nyul: the package intensity-normalization is not installed.")
    return found


def require_same_grid(one: Volume, other: Volume) -> None:
    """Raise BadData unless two images have the same shape and place."""
    same = one.data.shape == other.data.shape and np.allclose(
        one.affine, other.affine, rtol=0, atol=SAME_PLACE
    )
    if not same:
        raise BadData(
            f"{one.path} and {other.path} are not on the same grid: "
            "align and resample them to one before evaluating."
        )


def _mask(pair: Pair, harmonized: Volume, target: Volume) -> NDArray[np.bool_]:
    if pair.mask is None:
        return _brain(harmonized) & _brain(target)
    mask = _read(pair.mask)
    require_same_grid(mask, target)
    return mask.data > 0.5


def _brain(volume: Volume) -> NDArray[np.bool_]:
    from bids_ihf.preprocessing.brain_mask import find_brain

    return find_brain(volume.data, volume.affine).mask


def _read(path: Path) -> Volume:
    from bids_ihf.io.nifti import read_volume

    return read_volume(path)
