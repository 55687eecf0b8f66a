"""Harmonize one T1w, T2w or FLAIR scan.

The harmonized image is the sum of two parts on the native grid: the intensity curve that matches
the scan to the target, evaluated at the original voxels, and the change by the network and by a
smooth field, brought back from the network's grid by a single interpolation.  The original voxels
are never resampled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.anat.intensity_matching import IntensityMatched, match_together
from bids_ihf.anat.qc_statistics import QCStatistics, qc_statistics
from bids_ihf.errors import BadData, TemporaryFailure
from bids_ihf.geometry.grid import resample
from bids_ihf.geometry.slices import slice_stack
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.network.context import slice_context
from bids_ihf.preprocessing.head import head_weight
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.intensity import background_gain, change_dtype
from bids_ihf.targets.network_input import NETWORK_VOXEL_MM, NetworkInput, to_network_input
from bids_ihf.targets.profile import Profile, position_centre
from bids_ihf.targets.source_profile import SourceProfile
from bids_ihf.targets.target import ANY_MODALITY

Array = NDArray[np.float32]

LOGGER = logging.getLogger(__name__)

FEATHER_WIDTH_MM = 1.5
"""Standard deviation (mm) of the smooth transition around the brain over which the network's
change fades to 0; the transition ends about four of these widths from the brain mask."""

BATCH_SLICES = 8
"""Slices that the network gets at once."""


CURVE_ALONE_TEXT = (
    "%s: the network was not trained on %s images, so the intensity curve alone is applied."
)


@frozen(eq=False)
class Harmonized:
    """A harmonized image (X, Y, Z) on the native grid.

    ``change`` is harmonized minus original, both in units of the target, in double precision where
    the units of the scan are much smaller; ``scaling`` says how units were mapped (the sidecar's
    ``IntensityScaling``); ``round_trip_error`` is the largest absolute difference of image minus
    change to the original, relative to the latter's maximum; ``modality`` is what the scan was
    harmonized as; ``network_applied`` is False where the network was not trained on it and the
    intensity curve alone changed the scan.
    """

    image: Array
    change: NDArray[Any]
    scaling: dict[str, float]
    round_trip_error: float
    qc: QCStatistics
    modality: str
    network_applied: bool


def harmonize(
    prepared: Prepared,
    target: Profile,
    model: ModelBundle,
    *,
    modality: str = ANY_MODALITY,
    source: SourceProfile[Profile] | None = None,
    batch_size: int = BATCH_SLICES,
    threads: int = 1,
    before: Sequence[Prepared] = (),
    after: Sequence[Prepared] = (),
) -> Harmonized:
    """Bring a scan to a target profile.

    ``modality`` is that of scan and target; ``source`` is the typical profile of the scan's
    scanner, if available; ``batch_size`` is the number of slices that the network gets at once,
    ``threads`` that of batches at a time.  With ``before`` and ``after``, other scans of the
    person by the same scanner, all of them share one mapping: in whatever order they are
    harmonized, if their own order is the same.

    Raises
    ------
    BadData
        The brain contains too little signal to find an intensity scale.
    TemporaryFailure
        The device ran out of memory even with single slices.
    """
    scans = [_network_input(scan, modality) for scan in (*before, prepared, *after)]
    try:
        matched = match_together(scans, len(before), target, model, source)
    except ValueError as error:
        raise BadData(f"{prepared.volume.path}: {error}; check the image and its mask.") from error
    network_input = matched.network_input
    applies_network = modality == ANY_MODALITY or model.was_trained_on(modality)
    result = matched.data
    if applies_network:
        result = apply_network(matched, model, batch_size, threads=threads)
    else:
        LOGGER.warning(CURVE_ALONE_TEXT, prepared.volume.path.name, modality)
    change = (matched.with_field(result) - matched.data) * feather(network_input.mask)
    statistics = qc_statistics(matched, matched.data + change, model)

    original, scale = prepared.volume.data, network_input.scale
    native = matched.curve(scale.normalize(prepared.corrected))
    native += to_native_grid(change, network_input, prepared)
    unit_ratio = target.scale.high / scale.high
    background = background_gain(unit_ratio)
    weight = head_weight(prepared)
    outside = original * np.float32(background)
    image = (weight * target.scale.restore(native) + (1 - weight) * outside).astype(np.float32)
    # The line to no signal may lie below zero, but no magnitude does.
    image[(image < 0) & (original >= 0)] = 0
    difference = np.subtract(image, original, dtype=change_dtype(unit_ratio))
    return Harmonized(
        image=image,
        change=difference,
        scaling={
            "SourceLow": scale.low,
            "SourceHigh": scale.high,
            "TargetLow": target.scale.low,
            "TargetHigh": target.scale.high,
            "AirGain": background,
            "ScannerShare": matched.scanner_weight,
        },
        round_trip_error=float(
            np.abs((image - difference) - original).max() / np.abs(original).max()
        ),
        qc=statistics,
        modality=modality,
        network_applied=applies_network,
    )


def _network_input(prepared: Prepared, modality: str) -> NetworkInput:
    """A scan on the network's grid.

    Raises
    ------
    BadData
        The brain contains too little signal to find an intensity scale.
    """
    try:
        return to_network_input(prepared, modality)
    except ValueError as error:
        raise BadData(f"{prepared.volume.path}: {error}; check the image and its mask.") from error


def apply_network(
    matched: IntensityMatched,
    model: ModelBundle,
    batch_size: int = BATCH_SLICES,
    slices: NDArray[np.intp] | None = None,
    threads: int = 1,
) -> Array:
    """The scan (X, Y, Z) with some axial ``slices`` (default: all that contain brain) sent through
    the network, in network units of the target.

    The change by the network is multiplied by the scanner weight, as it is conditioned on the
    statistics of a single subject's scan, and by the reliability of the target, which comes from
    few subjects.  Beyond the positions that the target covers, statistics of the last position are
    used for both: differences between positions are not attributed to scanners.

    On a CPU ``threads`` batches run at a time, each in one thread of torch, so that their number
    does not change a bit.

    Raises
    ------
    TemporaryFailure
        The device ran out of memory even with single slices.
    """
    network_input, target = matched.network_input, matched.target
    slices = network_input.brain_slices if slices is None else slices
    covered = position_centre(target.positions)
    z = np.clip(network_input.z, covered[0], covered[-1])
    target_embeddings, scan_embeddings = (
        profile.embeddings_at(z) for profile in (target, matched.matched)
    )
    context = slice_context(network_input.modality, network_input.z)
    weight = np.float32(matched.scanner_weight * target.reliability)

    def run_batch(batch: NDArray[np.intp]) -> Array:
        arrays = (
            slice_stack(matched.data, batch.tolist()),
            np.ascontiguousarray(np.moveaxis(network_input.mask[:, :, batch], 2, 0)[:, None]),
            target_embeddings[batch],
            scan_embeddings[batch],
            context[batch],
        )
        with torch.inference_mode():
            out = model.network(*(torch.from_numpy(a).to(model.device) for a in arrays))
        before = matched.data[:, :, batch]
        change = np.moveaxis(out[:, 1].cpu().numpy(), 0, 2) - before
        changed: Array = before + weight * change
        return changed

    result = matched.data.copy()
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


def to_native_grid(data: Array, network_input: NetworkInput, prepared: Prepared) -> Array:
    """An array on the network's grid at the native voxels, by linear interpolation; 0 outside."""
    grid, to_template = network_input.grid, prepared.to_template
    return resample(data, grid, prepared.grid, target_to_source=to_template, order=1)
