"""Preparing a scan for the network: brain mask, registration to the template, bias field."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.io.memory import return_freed_memory
from bids_ihf.io.nifti import Volume, read_freesurfer, read_volume
from bids_ihf.preprocessing.alignment import Alignment, align, align_to_template
from bids_ihf.preprocessing.bias_field import bias_field
from bids_ihf.preprocessing.brain_mask import Brain, find_brain, is_stripped
from bids_ihf.preprocessing.intensities import brain_error, check_not_signed, has_bright_air
from bids_ihf.preprocessing.segmentation import segment
from bids_ihf.preprocessing.tissue_map import tissue_map

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.preprocessing.segmentation import Segmentation

LOGGER = logging.getLogger(__name__)

FREESURFER_ERASED_VALUE = 1
"""Value that FreeSurfer's editor gives to voxels of ``brainmask.mgz`` that a user erases."""
MIN_SIMILARITY_TO_T1W = 0.6
"""Similarity below which a scan is not registered via the T1w of its session."""

MIN_SIMILARITY_ACCEPTED, MIN_SIMILARITY_TRUSTED = 0.70, 0.78
"""Similarity to the template below which a registration is refused, and below which it is to be
checked; docs/brain.md has the values of simulated heads."""

MIN_COVERAGE_TRUSTED = 0.65
"""Coverage of the template's brain below which a registration is to be checked, however similar:
a part of a brain matches others in more than one position."""

MAX_HEADER_ROTATION_DEGREES = 60.0
"""Rotation, degrees, above which the scan's header is probably wrong."""


@frozen(eq=False)
class Prepared:
    """A scan with what the network needs to know about it.

    Attributes
    ----------
    volume
        The scan, (X, Y, Z).
    bias
        Multiplicative bias field, (X, Y, Z); ones for preprocessed scans.
    mask
        Brain mask, (X, Y, Z).
    segmentation
        Tissues; None if nothing needed them yet, see `segment`.
    stripped
        Whether the scan shows nothing but the brain.
    to_template
        Rigid map of points from the scan's to the template's world, RAS mm, (4, 4).
    similarity, coverage
        Of the registration, 0 to 1; None where nothing was registered.  A scan registered via the
        T1w of its session has that one's coverage.
    seconds
        Computing time.
    """

    volume: Volume
    bias: NDArray[np.float32]
    mask: NDArray[np.bool_]
    segmentation: Segmentation | None
    stripped: bool
    to_template: NDArray[np.float64]
    similarity: float | None
    coverage: float | None = None
    seconds: float = 0.0

    @property
    def grid(self) -> Grid:
        """The scan's grid."""
        return _grid(self.volume)

    @property
    def corrected(self) -> NDArray[np.float32]:
        """Intensities divided by the bias field, (X, Y, Z)."""
        return self.volume.data / self.bias

    def segment(self) -> Segmentation:
        """Tissues of the scan, computed now where preparing it did not need them."""
        if self.segmentation is not None:
            return self.segmentation
        return segment(self.volume.data, self.volume.affine)


def prepare(
    path: Path,
    *,
    modality: str,
    preprocessed: bool = False,
    mask_path: Path | None = None,
    t1w_reference: Prepared | None = None,
) -> Prepared:
    """Read a scan, find its brain, register it to the template and estimate its bias field.

    Parameters
    ----------
    path
        NIfTI file of a T1w, T2w or FLAIR image or a mean b0.
    modality
        Its BIDS suffix.
    preprocessed
        The scan is bias-corrected, skull-stripped and in template space: it is only read, and its
        brain is where it is not zero, within the mask if one is given.
    mask_path
        Brain mask to use, in the scan's world, on any grid.
    t1w_reference
        The T1w of the same session, prepared.  Other modalities are registered via it and take its
        mask, unless they have one or are skull-stripped.

    Raises
    ------
    BadData
        The scan or its mask cannot be used, no brain is found, or it does not match the template.
    """
    start = time.perf_counter()
    volume = read_volume(path)
    check_not_signed(volume)
    if preprocessed:
        ones, mask = np.ones_like(volume.data), volume.data != 0
        if mask_path is not None:
            mask &= _read_mask(mask_path, volume)
            if not mask.any():
                raise BadData(f"{mask_path}: no voxel of {path.name} in it has a signal.")
        seconds = time.perf_counter() - start
        return Prepared(volume, ones, mask, None, True, np.eye(4), None, seconds=seconds)
    scan, given_mask = volume, None if mask_path is None else _read_mask(mask_path, volume)
    is_masked = given_mask is not None and has_bright_air(volume.data)
    if given_mask is not None and is_masked:
        scan = evolve(volume, data=np.where(given_mask, volume.data, np.float32(0)))
    brain = _find_brain(scan, given_mask)
    return_freed_memory()
    reference = t1w_reference if modality != "T1w" else None
    keep_mask = given_mask is not None or brain.stripped
    alignment, mask = _register(scan, brain, reference, keep_mask=keep_mask)
    warning = alignment_warning(alignment.similarity, alignment.coverage)
    if warning:
        LOGGER.warning("%s: %s", path, warning)
    bias = bias_field(scan.data, scan.affine, mask)
    is_only_brain = brain.stripped and not is_masked
    return Prepared(
        volume, bias, mask, brain.segmentation, is_only_brain, alignment.matrix,
        alignment.similarity, alignment.coverage, time.perf_counter() - start,
    )  # fmt: skip


def alignment_warning(similarity: float, coverage: float | None) -> str | None:
    """Why a registration to the template needs checking; None where it does not.

    `coverage` is None where it was not measured.
    """
    is_partial = coverage is not None and coverage < MIN_COVERAGE_TRUSTED
    if not is_partial and similarity >= MIN_SIMILARITY_TRUSTED:
        return None
    reason = f" because only {coverage:.0%} of a brain is visible" if is_partial else ""
    return (
        f"The registration to the template may be wrong{reason} (similarity {similarity:.2f}); "
        "check it in the report."
    )


def _grid(volume: Volume) -> Grid:
    return Grid(volume.data.shape, volume.affine)


def _find_brain(volume: Volume, mask: NDArray[np.bool_] | None) -> Brain:
    brain = find_brain(volume.data, volume.affine)
    if mask is not None:
        brain = Brain(mask, brain.segmentation, is_stripped(volume.data, volume.affine, mask))
    if not brain.mask.any():
        raise brain_error(
            volume, "no brain is found", "check the image, or give a mask by --derivatives."
        )
    return brain


def _read_mask(path: Path, volume: Volume) -> NDArray[np.bool_]:
    """A mask file on the scan's grid, by world coordinates."""
    mask_volume = read_freesurfer(path) if path.suffix == ".mgz" else read_volume(path)
    is_freesurfer = path.name.startswith("brainmask.") and mask_volume.data.max() > 1
    threshold = FREESURFER_ERASED_VALUE if is_freesurfer else 0
    binary = (mask_volume.data > threshold).astype(np.float32)
    mask = resample(binary, _grid(mask_volume), _grid(volume)) > 0.5
    if not mask.any():
        raise BadData(f"{path}: does not overlap {volume.path.name}; give the mask of this scan.")
    return mask


def _register(
    volume: Volume, brain: Brain, t1w_reference: Prepared | None, *, keep_mask: bool
) -> tuple[Alignment, NDArray[np.bool_]]:
    """Register rigidly to the template, via the T1w where the scan matches it, and choose a mask.

    A T1w shows the brain's edge best, and one mask for both keeps them comparable, unless the scan
    is to keep its mask.
    """
    to_t1w = None if t1w_reference is None else _align_to_t1w(volume, brain, t1w_reference)
    if t1w_reference is None or to_t1w is None:
        return _register_to_template(volume, brain), brain.mask
    # A brain matches itself in one position only, whatever part is visible: what may be wrong is
    # the registration of the T1w.
    covered = to_t1w.coverage if t1w_reference.coverage is None else t1w_reference.coverage
    alignment = Alignment(t1w_reference.to_template @ to_t1w.matrix, to_t1w.similarity, covered)
    if keep_mask:
        return alignment, brain.mask
    soft = t1w_reference.mask.astype(np.float32)
    mask = resample(soft, t1w_reference.grid, _grid(volume), target_to_source=to_t1w.matrix) > 0.5
    return alignment, mask


def _align_to_t1w(volume: Volume, brain: Brain, t1w_reference: Prepared) -> Alignment | None:
    """Align a scan to the T1w of its session; None where it does not match."""
    if not brain.segmentation.brain.any():
        return None
    alignment = align(tissue_map(brain.segmentation), tissue_map(t1w_reference.segment()))
    if alignment.similarity >= MIN_SIMILARITY_TO_T1W:
        return alignment
    LOGGER.warning(
        "%s: does not match %s (similarity %.2f); registered to the template directly.",
        volume.path, t1w_reference.volume.path.name, alignment.similarity,
    )  # fmt: skip
    return None


def _register_to_template(volume: Volume, brain: Brain) -> Alignment:
    if not brain.segmentation.brain.any():
        raise brain_error(volume, "no brain is found", "check the image.")
    alignment = align_to_template(brain.segmentation)
    if alignment.similarity < MIN_SIMILARITY_ACCEPTED:
        raise brain_error(
            volume,
            f"the brain does not match the template (similarity {alignment.similarity:.2f}, at "
            f"least {MIN_SIMILARITY_ACCEPTED} is needed)",
            "check image and header, or register it to the template yourself and use "
            "--preprocessed.",
        )
    if alignment.rotation_degrees > MAX_HEADER_ROTATION_DEGREES:
        LOGGER.warning(
            "%s: the brain is rotated by %.0f degrees against the header; correct the header, and "
            "check left and right.", volume.path, alignment.rotation_degrees,
        )  # fmt: skip
    return alignment
