"""Slices of an image on the network's grid, sent through the network towards a target."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.errors import TemporaryFailure
from bids_ihf.geometry.slices import slice_stack
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.network.context import slice_context
from bids_ihf.targets.network_input import NETWORK_VOXEL_MM, NetworkInput
from bids_ihf.targets.profile import Profile, position_centre

Array = NDArray[np.float32]

LOGGER = logging.getLogger(__name__)

FEATHER_WIDTH_MM = 1.5
"""Standard deviation (mm) of the smooth transition around the brain over which the network's
change fades to 0; the transition ends about four of these widths from the brain mask."""

BATCH_SLICES = 8
"""Slices that the network gets at once."""


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

    def run_batch(batch: NDArray[np.intp]) -> Array:
        arrays = (
            slice_stack(data, batch.tolist()),
            np.ascontiguousarray(np.moveaxis(network_input.mask[:, :, batch], 2, 0)[:, None]),
            target_embeddings[batch],
            image_embeddings[batch],
            context[batch],
        )
        with torch.inference_mode():
            out = model.network(*(torch.from_numpy(a).to(model.device) for a in arrays))
        before = data[:, :, batch]
        change = np.moveaxis(out[:, 1].cpu().numpy(), 0, 2) - before
        changed: Array = before + factor * change
        return changed

    result = data.copy()
    workers = threads if model.device.type == "cpu" else 1
    for batch, changed in _run_batches(run_batch, slices, batch_size, workers):
        result[:, :, batch] = changed
    return result


def _run_batches(
    run_batch: Callable[[NDArray[np.intp]], Array],
    slices: NDArray[np.intp],
    batch_size: int,
    workers: int,
) -> Iterator[tuple[NDArray[np.intp], Array]]:
    """Batches of slices and their results; smaller batches once the device's memory is full."""
    start = 0
    # New threads would take all cores for each sum.
    with ThreadPoolExecutor(workers, "batch", torch.set_num_threads, (1,)) as pool:
        run_all = map if workers == 1 else pool.map
        while start < len(slices):
            group = slices[start : start + workers * batch_size]
            batches = np.split(group, range(batch_size, len(group), batch_size))
            try:
                results = list(run_all(run_batch, batches))
            except torch.OutOfMemoryError as error:
                if batch_size == 1:
                    raise TemporaryFailure(
                        "The device is out of memory; free it, or use --device cpu."
                    ) from error
                batch_size = max(1, batch_size // 2)
                LOGGER.warning(
                    "Out of device memory: continuing with %d slices at once.", batch_size
                )
                torch.cuda.empty_cache()
                continue
            yield from zip(batches, results, strict=True)
            start += len(group)


def feather(mask: Array) -> Array:
    """Weight (X, Y, Z) on the network's grid that is 1 in the brain mask and falls smoothly to 0
    around it, see FEATHER_WIDTH_MM."""
    width = FEATHER_WIDTH_MM / NETWORK_VOXEL_MM
    dilated = ndimage.binary_dilation(mask > 0.5, iterations=max(1, round(2 * width)))
    smooth = ndimage.gaussian_filter(dilated.astype(np.float32), width)
    return np.where(mask > 0.5, np.float32(1), smooth.astype(np.float32))
