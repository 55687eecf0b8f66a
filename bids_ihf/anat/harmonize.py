"""Harmonize one T1w, T2w or FLAIR scan.

The harmonized image is the sum of two parts on the native grid: the intensity curve that matches
the scan to the target, evaluated at the original voxels, and the change by the network and by a
smooth field, brought back from the network's grid by a single interpolation.  The original voxels
are never resampled.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.anat.intensity_matching import IntensityMatched, match_together
from bids_ihf.anat.qc_statistics import QCStatistics, qc_statistics
from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import resample_within
from bids_ihf.io import background
from bids_ihf.io.memory import return_freed_memory
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.preprocessing.head import head_weight
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.intensity import background_gain, change_dtype
from bids_ihf.targets.network_input import NetworkInput, to_network_input
from bids_ihf.targets.network_pass import BATCH_SLICES, feather, harmonize_slices
from bids_ihf.targets.profile import Profile
from bids_ihf.targets.source_profile import SourceProfile
from bids_ihf.targets.target import ANY_MODALITY

Array = NDArray[np.float32]

LOGGER = logging.getLogger(__name__)

WITHOUT_NETWORK_TEXT = (
    "%s: the network was not trained on %s images, so only the intensity curve and the field of "
    "regional intensities are applied."
)


@frozen(eq=False)
class Harmonized:
    """A harmonized image (X, Y, Z) on the native grid.

    ``change`` is harmonized minus original, both in units of the target, in double precision where
    the units of the scan are much smaller; ``scaling`` says how units were mapped (the sidecar's
    ``IntensityScaling``); ``round_trip_error`` is the largest absolute difference of image minus
    change to the original, relative to the latter's maximum; ``modality`` is what the scan was
    harmonized as; ``network_applied`` is False where the network was not trained on it, so that
    curve and field alone changed the scan.
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
    head = background.start(lambda: head_weight(prepared), threads=threads)
    scans = [_network_input(scan, modality) for scan in (*before, prepared, *after)]
    try:
        matched = match_together(scans, len(before), target, model, source, threads)
    except ValueError as error:
        raise BadData(f"{prepared.volume.path}: {error}; check the image and its mask.") from error
    return_freed_memory()
    network_input = matched.network_input
    applies_network = modality == ANY_MODALITY or model.was_trained_on(modality)
    result = matched.data
    if applies_network:
        result = apply_network(matched, model, batch_size, threads=threads)
    else:
        LOGGER.warning(WITHOUT_NETWORK_TEXT, prepared.volume.path.name, modality)
    change = (matched.with_field(result) - matched.data) * feather(network_input.mask)
    statistics = qc_statistics(matched, matched.data + change, model, threads=threads)

    return_freed_memory()
    original, scale = prepared.volume.data, network_input.scale
    native = matched.curve(scale.normalize(prepared.corrected))
    native += to_native_grid(change, network_input, prepared)
    unit_ratio = target.scale.high / scale.high
    air_gain = background_gain(unit_ratio)
    weight = head()
    outside = original * np.float32(air_gain)
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
            "AirGain": air_gain,
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
    the network, in network units of the target; see `network_pass.harmonize_slices`.

    The change by the network is multiplied by the scanner weight, as it is conditioned on the
    statistics of a single subject's scan.

    Raises
    ------
    TemporaryFailure
        The device ran out of memory even with single slices.
    """
    return harmonize_slices(
        matched.network_input,
        matched.data,
        (matched.target, matched.matched),
        model,
        weight=matched.scanner_weight,
        slices=slices,
        batch_size=batch_size,
        threads=threads,
    )


def to_native_grid(data: Array, network_input: NetworkInput, prepared: Prepared) -> Array:
    """An array on the network's grid at the native voxels, by linear interpolation; 0 outside.

    Only the box of its non-zero values is interpolated.
    """
    return resample_within(
        data,
        data != 0,
        network_input.grid,
        prepared.grid,
        target_to_source=prepared.to_template,
    )
