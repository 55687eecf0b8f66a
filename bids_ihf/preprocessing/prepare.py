"""One scan made ready for the network: bias field, brain mask and way to the template."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen

from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.io.nifti import Volume, read_volume
from bids_ihf.preprocessing.alignment import Alignment, align, align_to_template, tissue_map
from bids_ihf.preprocessing.bias_field import bias_field
from bids_ihf.preprocessing.brain_mask import Brain, find_brain, is_stripped
from bids_ihf.preprocessing.segmentation import segment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.preprocessing.segmentation import Segmentation

LOGGER = logging.getLogger(__name__)

MIN_SIMILARITY_TO_T1W = 0.6
"""Likeness from which on a scan is held to fit another of its session."""

MIN_SIMILARITY_ACCEPTED, MIN_SIMILARITY_TRUSTED = 0.70, 0.78
"""Likeness to the template below which an alignment is refused, and below which it is not believed
without a look; see docs/brain.md for what simulated heads give."""

MIN_COVERAGE_TRUSTED = 0.65
"""Share of the template's brain below which an alignment is not believed without a look, however
good its likeness: a part of a brain lies well on others in more ways than one."""

MAX_HEADER_ROTATION_DEGREES = 60.0
"""Rotation (degrees) from which on the header is held to be wrong."""


@frozen(eq=False)
class Prepared:
    """A scan (X, Y, Z) with what the network needs to know of it.

    ``bias`` is multiplicative, ones where it was not looked for.  ``to_template`` (4, 4) is rigid
    and leads from the scan's world to the template's, RAS mm.  ``similarity`` and ``coverage``, 0
    to 1, are those of its alignment, None where nothing was aligned; a scan that goes by another
    of its session has that one's coverage.  ``stripped`` scans show nothing but the brain.
    ``seconds`` are spent by stage.
    """

    volume: Volume
    bias: NDArray[np.float32]
    mask: NDArray[np.bool_]
    segmentation: Segmentation
    stripped: bool
    to_template: NDArray[np.float64]
    similarity: float | None
    coverage: float | None = None
    seconds: dict[str, float] = field(factory=dict)

    @property
    def grid(self) -> Grid:
        """The scan's own grid."""
        return _grid(self.volume)

    @property
    def corrected(self) -> NDArray[np.float32]:
        """Intensities without the bias."""
        return self.volume.data / self.bias


def prepare(
    path: Path,
    *,
    modality: str,
    preprocessed: bool = False,
    mask_path: Path | None = None,
    t1w_reference: Prepared | None = None,
) -> Prepared:
    """Read a T1w or T2w scan, find its brain, bias field and rigid way to the template.

    ``mask_path`` is a mask to use instead of looking for one, in the scan's world, on any grid.
    ``t1w_reference`` is the T1w scan of the same session: a T2w scan is aligned to it, takes its
    mask and goes on by its way to the template.  ``preprocessed`` scans are taken as corrected,
    stripped and in template space.

    Raises
    ------
    BadData
        The scan or its mask cannot be used, no brain is found, or it does not fit the template.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "read"):
        volume = read_volume(path)
    if preprocessed:
        with _timed(seconds, "mask"):
            segmentation = segment(volume.data, volume.affine)
        ones = np.ones_like(volume.data)
        mask = volume.data != 0
        return Prepared(volume, ones, mask, segmentation, True, np.eye(4), None, seconds=seconds)
    with _timed(seconds, "mask"):
        brain = _find_brain(volume, mask_path)
    with _timed(seconds, "align"):
        way, mask = _register_to_template(
            volume, brain, t1w_reference if modality != "T1w" else None, own=mask_path is not None
        )
    why = alignment_warning(way.similarity, way.coverage)
    if why:
        LOGGER.warning("%s: %s", path, why)
    with _timed(seconds, "bias"):
        bias = bias_field(volume.data, volume.affine, mask)
    return Prepared(
        volume, bias, mask, brain.segmentation, brain.stripped, way.matrix, way.similarity,
        way.coverage, seconds,
    )  # fmt: skip


def is_alignment_refused(similarity: float) -> bool:
    """Whether an alignment to the template of this likeness is not used."""
    return similarity < MIN_SIMILARITY_ACCEPTED


def alignment_warning(similarity: float, coverage: float | None) -> str | None:
    """A sentence on why an alignment to the template needs a look; None where it does not.

    ``coverage`` is None where it was not measured.
    """
    partial = coverage is not None and coverage < MIN_COVERAGE_TRUSTED
    if not partial and similarity >= MIN_SIMILARITY_TRUSTED:
        return None
    seen = f", since only {coverage:.0%} of a brain is seen" if partial else ""
    return (
        f"The alignment to the template may be wrong{seen} (similarity {similarity:.2f}); "
        "look at it."
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start


def _grid(volume: Volume) -> Grid:
    return Grid(volume.data.shape, volume.affine)


def _find_brain(volume: Volume, mask_path: Path | None) -> Brain:
    brain = find_brain(volume.data, volume.affine)
    if mask_path is not None:
        mask = _read_mask(mask_path, volume)
        brain = Brain(mask, brain.segmentation, is_stripped(volume.data, volume.affine, mask))
    if not brain.mask.any():
        raise BadData(f"{volume.path}: no brain is found in it; give a mask by --derivatives.")
    return brain


def _read_mask(path: Path, volume: Volume) -> NDArray[np.bool_]:
    """A mask file on the scan's grid, overlaid by world coordinates."""
    found = read_volume(path)
    soft = (found.data > 0).astype(np.float32)
    mask = resample(soft, _grid(found), _grid(volume)) > 0.5
    if not mask.any():
        raise BadData(f"{path}: lies outside of {volume.path.name}; give the mask of this scan.")
    return mask


def _register_via_t1w(volume: Volume, brain: Brain, anchor: Prepared) -> Alignment | None:
    """The way of a scan to the T1w scan of its session; none where it does not fit that."""
    if not brain.segmentation.brain.any():
        return None
    found = align(tissue_map(brain.segmentation), tissue_map(anchor.segmentation))
    if found.similarity >= MIN_SIMILARITY_TO_T1W:
        return found
    LOGGER.warning(
        "%s: does not fit %s (similarity %.2f); aligned to the template by itself.",
        volume.path, anchor.volume.path.name, found.similarity,
    )  # fmt: skip
    return None


def _register_to_template(
    volume: Volume, brain: Brain, anchor: Prepared | None, *, own: bool
) -> tuple[Alignment, NDArray[np.bool_]]:
    """Rigid way to the template, over the anchor where the scan fits it, and the mask to use.

    A T1w shows the brain's edge best, and one mask for both keeps them comparable; the scan's
    ``own`` mask is kept where it was given.
    """
    found = None if anchor is None else _register_via_t1w(volume, brain, anchor)
    if anchor is None or found is None:
        return _register_directly(volume, brain), brain.mask
    # One person's brain fits itself in one way, whatever part of it is seen: what may be wrong is
    # the anchor's own way.
    matrix = anchor.to_template @ found.matrix
    seen = found.coverage if anchor.coverage is None else anchor.coverage
    way = Alignment(matrix, found.similarity, seen)
    if own or brain.stripped:
        return way, brain.mask
    soft = anchor.mask.astype(np.float32)
    mask = resample(soft, anchor.grid, _grid(volume), target_to_source=found.matrix) > 0.5
    return way, mask


def _register_directly(volume: Volume, brain: Brain) -> Alignment:
    """Rigid way to the template."""
    if not brain.segmentation.brain.any():
        raise BadData(f"{volume.path}: no brain is seen in it; check the image.")
    found = align_to_template(brain.segmentation)
    if is_alignment_refused(found.similarity):
        raise BadData(
            f"{volume.path}: its brain does not fit the template (similarity "
            f"{found.similarity:.2f}, at least {MIN_SIMILARITY_ACCEPTED} is needed); check image "
            "and header, or bring it to the template yourself and use --preprocessed."
        )
    if found.rotation_degrees > MAX_HEADER_ROTATION_DEGREES:
        LOGGER.warning(
            "%s: its brain is turned by %.0f degrees against its header; correct the header, "
            "left and right may be exchanged too.", volume.path, found.rotation_degrees,
        )  # fmt: skip
    return found
