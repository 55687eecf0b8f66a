"""One scan made ready for the network: bias field, brain mask and way to the template."""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen

from bids_ihf.errors import BadData
from bids_ihf.spatial.align import Alignment, align, align_to_template
from bids_ihf.spatial.bias import bias_field
from bids_ihf.spatial.itk import DEFAULT_SEED
from bids_ihf.spatial.mask import brain_mask, is_stripped
from bids_ihf.volume.grid import Grid, resample
from bids_ihf.volume.nifti import Volume, read_volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LOGGER = logging.getLogger(__name__)

DOUBTFUL = 0.3
"""Similarity below which an alignment is not believed without a look."""


@frozen(eq=False)
class Prepared:
    """A scan (X, Y, Z) with what the network needs to know of it.

    ``bias`` is multiplicative, ones where it was not looked for.  ``to_template`` (4, 4) is rigid
    and leads from the scan's world to the template's, RAS mm.  ``similarity``, 0 to 1, is None
    where nothing was aligned.  ``seconds`` are spent by stage.
    """

    volume: Volume
    bias: NDArray[np.float32]
    mask: NDArray[np.bool_]
    to_template: NDArray[np.float64]
    similarity: float | None
    seconds: dict[str, float] = field(factory=dict)

    @property
    def grid(self) -> Grid:
        """The scan's own grid."""
        return _grid(self.volume)

    @property
    def corrected(self) -> NDArray[np.float32]:
        """Intensities without the bias."""
        return self.volume.data / self.bias


def deterministic(threads: int) -> None:
    """Make what follows repeatable to the bit; to be called before ANTs is first loaded.

    ``threads`` is the limit for the numerical libraries not loaded yet.  ITK gets one whatever the
    limit is, since its results depend on how threads come in.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    os.environ.setdefault("ANTS_RANDOM_SEED", DEFAULT_SEED)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def prepare(
    path: Path,
    *,
    modality: str,
    preprocessed: bool = False,
    mask_path: Path | None = None,
    anchor: Prepared | None = None,
) -> Prepared:
    """Read a T1w or T2w scan, find its brain, bias field and rigid way to the template.

    ``mask_path`` is a mask to use instead of looking for one, in the scan's world, on any grid.
    ``anchor`` is the T1w scan of the same session: a T2w scan is aligned to it, takes its mask and
    goes on by its way to the template.  ``preprocessed`` scans are taken as corrected, stripped
    and in template space.

    Raises
    ------
    BadData
        The scan or its mask cannot be used, or no brain is found.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "read"):
        volume = read_volume(path)
    if preprocessed:
        ones = np.ones_like(volume.data)
        return Prepared(volume, ones, volume.data != 0, np.eye(4), None, seconds)
    follows = anchor is not None and modality != "T1w"
    found = mask = None
    if anchor is not None and follows and mask_path is None and not is_stripped(volume.data):
        with _timed(seconds, "align"):
            found, mask = _follow(volume, anchor)
    if mask is None:
        with _timed(seconds, "mask"):
            mask = _find_mask(volume, mask_path)
    with _timed(seconds, "bias"):
        bias = bias_field(volume.data, volume.affine, mask)
    if found is None:
        with _timed(seconds, "align"):
            found = _align(volume, bias, mask, anchor if follows else None)
    if found.similarity < DOUBTFUL:
        LOGGER.warning(
            "%s: its alignment is doubtful (similarity %.2f); look at it.", path, found.similarity
        )
    return Prepared(volume, bias, mask, found.matrix, found.similarity, seconds)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start


def _grid(volume: Volume) -> Grid:
    shape = volume.data.shape
    return Grid((shape[0], shape[1], shape[2]), volume.affine)


def _follow(
    volume: Volume, anchor: Prepared
) -> tuple[Alignment, NDArray[np.bool_]] | tuple[None, None]:
    """Way to the template and brain mask of a T2w by its session's T1w; none if it does not fit.

    A T1w shows the brain's edge best, and one mask for both keeps them comparable.  Where the
    headers lay the T1w's mask is where the search begins.
    """
    grid, brain = _grid(volume), anchor.mask.astype(np.float32)
    guess = resample(brain, anchor.grid, grid) > 0.5
    if not guess.any():
        return None, None
    found = align(
        volume.data, volume.affine, guess, anchor.corrected, anchor.volume.affine, anchor.mask
    )
    if found.similarity < DOUBTFUL:
        return None, None
    mask = resample(brain, anchor.grid, grid, target_to_source=found.matrix) > 0.5
    return Alignment(anchor.to_template @ found.matrix, found.similarity), mask


def _align(
    volume: Volume, bias: NDArray[np.float32], mask: NDArray[np.bool_], anchor: Prepared | None
) -> Alignment:
    """Rigid way to the template, over the anchor where the scan fits it."""
    moving = (volume.data / bias, volume.affine, mask)
    if anchor is not None:
        found = align(*moving, anchor.corrected, anchor.volume.affine, anchor.mask)
        if found.similarity >= DOUBTFUL:
            return Alignment(anchor.to_template @ found.matrix, found.similarity)
        LOGGER.warning(
            "%s: does not fit %s (similarity %.2f); aligned to the template by itself.",
            volume.path, anchor.volume.path.name, found.similarity,
        )  # fmt: skip
    return align_to_template(*moving)


def _find_mask(volume: Volume, mask_path: Path | None) -> NDArray[np.bool_]:
    if mask_path is not None:
        mask = _read_mask(mask_path, volume)
    else:
        mask = brain_mask(volume.data, volume.affine)
    if not mask.any():
        raise BadData(f"{volume.path}: no brain is found in it; give a mask by --derivatives.")
    return mask


def _read_mask(path: Path, volume: Volume) -> NDArray[np.bool_]:
    """A mask file on the scan's grid, overlaid by world coordinates."""
    found = read_volume(path)
    soft = (found.data > 0).astype(np.float32)
    mask = resample(soft, _grid(found), _grid(volume)) > 0.5
    if not mask.any():
        raise BadData(f"{path}: lies outside of {volume.path.name}; give the mask of this scan.")
    return mask
