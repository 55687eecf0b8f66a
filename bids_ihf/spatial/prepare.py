"""All that happens to a scan before the network: read, mask, bias field, alignment."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.errors import BadData
from bids_ihf.spatial.align import align
from bids_ihf.spatial.ants_image import deterministic
from bids_ihf.spatial.bias import bias_field
from bids_ihf.spatial.mask import brain_mask, is_stripped
from bids_ihf.spatial.template import load_template
from bids_ihf.volume.grid import Grid, resample
from bids_ihf.volume.nifti import Volume, read_volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Prepared", "deterministic", "prepare"]

LOGGER = logging.getLogger(__name__)

MIN_BRAIN_ML = 5.0
"""Less brain than this says nothing about a scanner."""


@frozen(eq=False)
class Prepared:
    """A scan ready for the network; arrays (X, Y, Z) on its native grid.

    ``bias`` is multiplicative, ones where the correction was skipped.  ``to_template`` (4, 4) leads
    from its world to the template's (RAS, mm).  ``seconds`` holds the time of each stage.
    """

    volume: Volume
    bias: NDArray[np.float32]
    mask: NDArray[np.bool_]
    to_template: NDArray[np.float64]
    similarity: float | None
    seconds: dict[str, float]


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def prepare(
    path: Path,
    *,
    modality: str,
    preprocessed: bool = False,
    mask_path: Path | None = None,
    anchor: Prepared | None = None,
) -> Prepared:
    """Read a T1w or T2w scan and bring it to where the network can take it.

    ``preprocessed`` says that the scan is bias-corrected, stripped and in template orientation.
    ``mask_path`` names a brain mask to use.  ``anchor`` is the session's prepared T1w, to which a T2w
    is aligned and whose mask it takes.

    Raises
    ------
    BadData
        The scan or its mask cannot be used.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "read"):
        volume = read_volume(path)
    if preprocessed:
        mask = volume.data != 0
        _require_brain(mask, volume)
        return Prepared(volume, np.ones_like(volume.data), mask, np.eye(4), None, seconds)
    LOGGER.debug("%s (%s): mask, bias field, alignment", path.name, modality)
    to_anchor = None
    if anchor is not None:
        with _timed(seconds, "alignment to T1w"):
            to_anchor = _to_anchor(volume, anchor)
    with _timed(seconds, "mask"):
        mask = _mask(volume, mask_path, anchor, to_anchor)
    _require_brain(mask, volume)
    with _timed(seconds, "bias field"):
        bias = bias_field(volume.data, volume.affine, mask)
    if anchor is not None and to_anchor is not None:
        matrix = anchor.to_template @ to_anchor
        return Prepared(volume, bias, mask, matrix, anchor.similarity, seconds)
    with _timed(seconds, "alignment"):
        template = load_template()
        found = align(
            volume.data / bias,
            volume.affine,
            mask,
            template.image,
            template.grid.affine,
            template.mask,
        )
    return Prepared(volume, bias, mask, found.matrix, found.similarity, seconds)


def _require_brain(mask: NDArray[np.bool_], volume: Volume) -> None:
    millilitres = np.count_nonzero(mask) * abs(np.linalg.det(volume.affine[:3, :3])) / 1e3
    if millilitres < MIN_BRAIN_ML:
        raise BadData(
            f"{volume.path}: its brain mask holds {millilitres:.1f} ml, too little to work on; check "
            "the image, or give a mask by --derivatives."
        )


def _to_anchor(volume: Volume, anchor: Prepared) -> NDArray[np.float64]:
    """Rigid from a T2w to its session's T1w, whose headers agree but for motion."""
    found = align(
        volume.data,
        volume.affine,
        None,
        anchor.volume.data / anchor.bias,
        anchor.volume.affine,
        None,
        start=np.eye(4),
    )
    return found.matrix


def _mask(
    volume: Volume,
    mask_path: Path | None,
    anchor: Prepared | None,
    to_anchor: NDArray[np.float64] | None,
) -> NDArray[np.bool_]:
    """A mask that was given, the image's own, the T1w's, or a new one."""
    if mask_path is not None:
        return _read_mask(mask_path, volume)
    if is_stripped(volume.data, volume.affine) or anchor is None or to_anchor is None:
        return brain_mask(volume.data, volume.affine)
    shape = (volume.data.shape[0], volume.data.shape[1], volume.data.shape[2])
    there = Grid(anchor.mask.shape, anchor.volume.affine)
    soft = resample(
        anchor.mask.astype(np.float32),
        there,
        Grid(shape, volume.affine),
        target_to_source=to_anchor,
    )
    return soft > 0.5


def _read_mask(path: Path, volume: Volume) -> NDArray[np.bool_]:
    mask = read_volume(path)
    if mask.data.shape != volume.data.shape or not np.allclose(
        mask.affine, volume.affine, atol=1e-3
    ):
        raise BadData(f"{path}: not on the grid of {volume.path}; resample the mask or remove it.")
    return mask.data > 0
