"""Slices of an image on the network's grid, sent through the network towards a target."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.errors import TemporaryFailure
from bids_ihf.geometry.slices import slice_stack
from bids_ihf.network.batch_threads import batch_threads
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.network.context import Window, slice_context
from bids_ihf.targets.network_input import NETWORK_VOXEL_MM, NetworkInput
from bids_ihf.targets.profile import Profile, position_centre

Array = NDArray[np.float32]

LOGGER = logging.getLogger(__name__)

FEATHER_WIDTH_MM = 1.5
"""Standard deviation (mm) of the smooth transition around the brain over which the network's
change fades to 0; the transition ends about four of these widths from the brain mask."""

BATCH_SLICES = 8
"""Slices that the network gets at once, at most."""

CPU_BATCH_SLICES = 4
"""The same on a CPU, which is no faster with more; two batches of 8 need 0.2 GiB more."""

WINDOW_MARGIN_VOXELS = 12
"""Margin around the brain of the part of the slices that the network gets, beyond which its change
has faded to 0.  What lies outside would change the brain by at most 0.1 % of its range."""

WINDOW_NEIGHBOURS = 4
"""Slices on either side whose brain is shown as well."""


def harmonize_slices(
    network_input: NetworkInput,
    data: Array,
    profiles: tuple[Profile, Profile],
    model: ModelBundle,
    *,
    weight: float = 1.0,
    slices: NDArray[np.intp] | None = None,
    batch_size: int = BATCH_SLICES,
    threads: int = 1,
) -> Array:
    """An image (X, Y, Z) with some axial ``slices`` (default: all that contain brain) sent through
    the network.

    ``data`` are its intensities in network units, whose level was set before; ``profiles`` are
    that of the target and that of the image.  The change by the network is multiplied by
    ``weight``.  Beyond the positions that the target covers, statistics of the last position are
    used for both: differences between positions are not attributed to scanners.

    On a CPU ``threads`` batches run at a time, each in one thread of torch, so that their number
    does not change a bit.

    Raises
    ------
    TemporaryFailure
        The device ran out of memory even with single slices.
    """
    target = profiles[0]
    slices = network_input.brain_slices if slices is None else slices
    covered = position_centre(target.positions)
    z = np.clip(network_input.z, covered[0], covered[-1])
    target_embeddings, image_embeddings = (profile.embeddings_at(z) for profile in profiles)
    context = slice_context(network_input.modality, network_input.z)
    factor = np.float32(weight)

    def run_batch(batch: Batch) -> Array:
        rows, columns = batch.box
        stack = slice_stack(data[rows, columns], batch.slices)
        mask = np.moveaxis(network_input.mask[rows, columns, batch.slices], 2, 0)[:, None]
        arrays = (stack, np.ascontiguousarray(mask), *(
            values[batch.slices] for values in (target_embeddings, image_embeddings, context)
        ))  # fmt: skip
        with torch.inference_mode():
            tensors = [torch.from_numpy(array).to(model.device) for array in arrays]
            out = model.network(*tensors, window=Window((rows.start, columns.start), padded_size))
        before = data[rows, columns, batch.slices]
        change = np.moveaxis(out[:, 1].cpu().numpy(), 0, 2) - before
        changed: Array = before + factor * change
        return changed

    multiple = model.network.multiple
    height, width = (-(-size // multiple) * multiple for size in data.shape[:2])
    padded_size = height, width
    result = data.copy()
    if model.device.type == "cpu":
        batch_size = min(batch_size, CPU_BATCH_SLICES)
    batches = _batches(network_input.mask, slices, multiple)
    with batch_threads(model.device, threads) as run_all:
        for batch, changed in _run_batches(run_batch, batches, batch_size, run_all, threads):
            result[(*batch.box, batch.slices)] = changed
    return result


@frozen
class Batch:
    """Axial slices that go through the network at once, and the box of them that it gets."""

    slices: list[int]
    box: tuple[slice, slice]

    def split(self, size: int) -> list[Batch]:
        """Batches of at most so many slices."""
        starts = range(0, len(self.slices), size)
        return [Batch(self.slices[start : start + size], self.box) for start in starts]


def _batches(mask: Array, slices: NDArray[np.intp], multiple: int) -> list[Batch]:
    """Batches of slices and the boxes around their brain, which begin at multiples.

    A box is that of BATCH_SLICES slices, however few the device takes at once: their number
    changes a result by rounding alone.
    """
    batches = []
    for start in range(0, len(slices), BATCH_SLICES):
        batch = slices[start : start + BATCH_SLICES]
        first = max(0, int(batch.min()) - WINDOW_NEIGHBOURS)
        brain = mask[:, :, first : int(batch.max()) + WINDOW_NEIGHBOURS + 1].max(axis=2) > 0
        rows, columns = (
            _with_margin(np.flatnonzero(brain.any(axis=axis)), size, multiple)
            for axis, size in zip((1, 0), brain.shape, strict=True)
        )
        batches.append(Batch(batch.tolist(), (rows, columns)))
    return batches


def _with_margin(occupied: NDArray[np.intp], size: int, multiple: int) -> slice:
    """The range of an axis that the network gets, all of it where there is no brain."""
    if not occupied.size:
        return slice(0, size)
    start = max(0, int(occupied[0]) - WINDOW_MARGIN_VOXELS) // multiple * multiple
    return slice(start, min(size, int(occupied[-1]) + 1 + WINDOW_MARGIN_VOXELS))


def _run_batches(
    run_batch: Callable[[Batch], Array],
    batches: Sequence[Batch],
    batch_size: int,
    run_all: Callable[..., Iterator[Array]],
    threads: int,
) -> Iterator[tuple[Batch, Array]]:
    """Batches and their results, by ``run_all`` a batch for each thread at a time; smaller batches
    once the device's memory is full."""
    batch_size = min(batch_size, BATCH_SLICES)
    waiting = [part for batch in batches for part in batch.split(batch_size)]
    while waiting:
        group = waiting[:threads]
        try:
            results = list(run_all(run_batch, group))
        except torch.OutOfMemoryError as error:
            if batch_size == 1:
                raise TemporaryFailure(
                    "The device is out of memory; free it, or use --device cpu."
                ) from error
            batch_size = max(1, batch_size // 2)
            LOGGER.warning("Out of device memory: continuing with %d slices at once.", batch_size)
            torch.cuda.empty_cache()
            waiting = [part for batch in waiting for part in batch.split(batch_size)]
            continue
        yield from zip(group, results, strict=True)
        waiting = waiting[len(group) :]


def feather(mask: Array) -> Array:
    """Weight (X, Y, Z) on the network's grid that is 1 in the brain mask and falls smoothly to 0
    around it, see FEATHER_WIDTH_MM."""
    width = FEATHER_WIDTH_MM / NETWORK_VOXEL_MM
    dilated = ndimage.binary_dilation(mask > 0.5, iterations=max(1, round(2 * width)))
    smooth = ndimage.gaussian_filter(dilated.astype(np.float32), width)
    return np.where(mask > 0.5, np.float32(1), smooth.astype(np.float32))
