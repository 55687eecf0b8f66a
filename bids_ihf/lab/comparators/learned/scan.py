"""A comparator that was trained, applied to a scan on the network's grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen

from bids_ihf.geometry.slices import slice_stack
from bids_ihf.lab.comparators.learned.interface import UNKNOWN_SITE, SiteSlices
from bids_ihf.network.encoder import modality_weights
from bids_ihf.targets.network_input import clip_to_network_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.lab.comparators.learned.interface import LearnedComparator
    from bids_ihf.targets.intensity import IntensityScale
    from bids_ihf.targets.network_input import NetworkInput

    Array = NDArray[np.float32]

FRAME_SHAPE = (160, 192)
"""Least size of the slices, as in training: instance normalization sees the empty margin."""

BATCH_SLICES = 8
"""Slices that are translated at once."""

NO_SIGNAL = -1.0
"""Network units outside the brain, which comparators do not see."""


@frozen(eq=False)
class TargetScan:
    """What a comparator is told of its target.

    vendor: the target's vendor; None if it is no site of the comparators.
    scale: range of the target's scans.
    data, mask: (X, Y, S) slices of another subject by the target's scanner and their brain mask,
        in the frame and at the heights of those that are translated.
    """

    vendor: str | None
    scale: IntensityScale
    data: Array
    mask: NDArray[np.bool_]


def can_translate(
    model: LearnedComparator, modality: str, source: str | None, target: str | None
) -> bool:
    """Whether a comparator translates from one vendor to another, None if they are no sites."""
    if modality not in model.settings.modalities:
        return False
    if not model.copies_reference and model.settings.site(target, modality) == UNKNOWN_SITE:
        return False
    is_site = model.settings.site(source, modality) != UNKNOWN_SITE
    return is_site or not model.needs_source_site


def translate_scan(
    model: LearnedComparator,
    on_grid: NetworkInput,
    slices: NDArray[np.intp],
    target: TargetScan,
    source: str | None = None,
) -> Array:
    """Axial slices (X, Y, S) of a scan in the target's units.

    The brain is translated; around it intensities are mapped from the range of the scan to that of
    the target.  ``source`` is the vendor of the scan, if it is a site.
    """
    modality, settings = on_grid.modality, model.settings
    scaled = on_grid.scale.normalize(on_grid.data)
    bare = np.where(on_grid.brain, clip_to_network_range(scaled), np.float32(NO_SIGNAL))
    chosen = slices.tolist()
    mask = np.moveaxis(on_grid.mask[:, :, slices], 2, 0)[:, None]
    reference, reference_mask = _reference(target)
    sites = [settings.site(vendor, modality) for vendor in (source, target.vendor)]
    translated = []
    for first in range(0, len(chosen), BATCH_SLICES):
        rows = slice(first, first + BATCH_SLICES)
        count = len(chosen[rows])
        batch = SiteSlices(
            source=_framed(slice_stack(bare, chosen[rows]), NO_SIGNAL),
            mask=_framed(mask[rows], 0),
            source_site=torch.full((count,), sites[0]),
            target_site=torch.full((count,), sites[1]),
            reference=_framed(reference[rows].repeat(3, axis=1), NO_SIGNAL),
            reference_mask=_framed(reference_mask[rows], 0),
            modality=modality_weights(modality, count),
        )
        with torch.inference_mode():
            translated.append(_unframed(model.translate(batch), on_grid.grid.shape))
    image = np.moveaxis(np.concatenate(translated)[:, 0], 0, 2)
    brain = on_grid.brain[:, :, slices]
    return target.scale.restore(np.where(brain, image, scaled[:, :, slices]))


def _reference(target: TargetScan) -> tuple[Array, Array]:
    """The target's stripped slices in its range, and their mask, both (S, 1, X, Y); where a slice
    shows no brain, the nearest that does."""
    shown = np.flatnonzero(target.mask.any(axis=(0, 1)))
    rows = np.arange(target.mask.shape[2])
    nearest = shown[np.abs(rows[:, None] - shown).argmin(axis=1)]
    data = clip_to_network_range(target.scale.normalize(target.data[:, :, nearest]))
    mask = target.mask[:, :, nearest]
    bare = np.where(mask, data, np.float32(NO_SIGNAL))
    stack, mask_stack = (np.moveaxis(array, 2, 0)[:, None] for array in (bare, mask))
    return stack, mask_stack.astype(np.float32)


def _margins(shape: Sequence[int]) -> list[tuple[int, int]]:
    missing = [max(0, size - n) for n, size in zip(shape[:2], FRAME_SHAPE, strict=True)]
    return [(n // 2, n - n // 2) for n in missing]


def _framed(stack: Array, value: float) -> torch.Tensor:
    """(B, C, X, Y) with margins of a value up to FRAME_SHAPE."""
    widths = [(0, 0), (0, 0), *_margins(stack.shape[2:])]
    return torch.from_numpy(np.pad(stack, widths, constant_values=value).astype(np.float32))


def _unframed(image: torch.Tensor, shape: Sequence[int]) -> Array:
    """(B, C, X, Y) without the margins."""
    low = [first for first, _ in _margins(shape)]
    return image.numpy()[..., low[0] : low[0] + shape[0], low[1] : low[1] + shape[1]]
