"""Harmonize one T1w or T2w scan.

The harmonized image is the sum of two parts on the native grid: the intensity curve that matches
the scan's histogram to the target's, evaluated at the original voxels, and the network's change on
top of it, brought back from the network's grid by one interpolation.  The original voxels are
never resampled.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from attrs import frozen
from scipy import ndimage

from bids_ihf.errors import BadData, TemporaryFailure
from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.geometry.slices import slice_stack
from bids_ihf.preprocessing.head import head_weight
from bids_ihf.targets.intensity import background_gain
from bids_ihf.targets.network_input import (
    NETWORK_VOXEL_MM,
    NetworkInput,
    clip_to_network_range,
    measure_profile,
    position_statistics,
    to_network_input,
)
from bids_ihf.targets.profile import Profile, position_centre
from bids_ihf.targets.source_profile import harmonization_curve, scanner_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.preprocessing.prepare import Prepared
    from bids_ihf.targets.intensity import IntensityCurve
    from bids_ihf.targets.landmarks import SliceStatistics
    from bids_ihf.targets.source_profile import SourceProfile

LOGGER = logging.getLogger(__name__)


@frozen(eq=False)
class QCStatistics:
    """What was seen on the network's grid, each side in its own network units.

    ``before`` is the scan as it came, ``after`` the result, ``target`` what it was brought to.
    ``change`` is the root mean square of after less before in the brain, network units: what is
    left of the change once units are alike.  ``distances`` of the encoder's statistics to the
    target's are root mean squares, before and after, where the target covers the scan.
    """

    before: Profile
    after: SliceStatistics
    target: Profile
    change: float
    distances: tuple[float, float]


@frozen(eq=False)
class Harmonized:
    """Result on the native grid, float32, and how it came about.

    ``change`` is harmonized minus original.  ``scaling`` says how units were mapped.
    """

    image: NDArray[np.float32]
    change: NDArray[np.float32]
    scaling: dict[str, float]
    round_trip_error: float
    qc: QCStatistics


def harmonize(
    prepared: Prepared,
    profile: Profile,
    model: ModelBundle,
    *,
    source: SourceProfile | None = None,
    batch_size: int = 8,
) -> Harmonized:
    """Bring a scan to a target profile, ``batch_size`` slices at a time.

    ``source`` is what other people's scans tell of the scan's scanner, if anything.

    Raises
    ------
    BadData
        The brain holds too little signal to find a scale.
    TemporaryFailure
        The device ran out of memory even one slice at a time.
    """
    try:
        on_grid = to_network_input(prepared)
        matched = match_intensities(on_grid, profile, model, source)
    except ValueError as error:
        raise BadData(f"{prepared.volume.path}: {error}; check the image and its mask.") from error
    slices = np.flatnonzero(on_grid.brain.any(axis=(0, 1)))
    residual = apply_network(matched, on_grid, profile, model, slices, batch_size) - matched.data
    residual *= feather(on_grid.mask)
    image = _compose(prepared, on_grid, matched.curve, profile, residual)
    evidence = qc_statistics(matched, on_grid, profile, model, matched.data + residual, slices)
    return _summarize(prepared, on_grid, profile, image, evidence, matched.scanner_weight)


def apply_network(
    matched: IntensityMatched,
    on_grid: NetworkInput,
    profile: Profile,
    model: ModelBundle,
    slices: NDArray[np.intp],
    batch_size: int = 8,
) -> NDArray[np.float32]:
    """The whole scan (X, Y, Z) with the chosen axial slices sent through the network."""
    result = matched.data.copy()
    result[:, :, slices] = harmonize_slices(matched, on_grid, profile, model, slices, batch_size)
    return result


def qc_statistics(
    matched: IntensityMatched,
    on_grid: NetworkInput,
    profile: Profile,
    model: ModelBundle,
    result: NDArray[np.float32],
    slices: NDArray[np.intp],
) -> QCStatistics:
    """What is seen of a result (X, Y, Z, network units) beside the scan it was made from;
    ``slices`` are those that were changed."""
    finished = clip_to_network_range(result)
    done = position_statistics(finished, on_grid, model.encoder)
    own = matched.original
    shared = np.isin(own.positions, profile.positions)
    compared = shared if shared.any() else ~shared
    wanted = profile.embeddings_at(position_centre(own.positions[compared]))
    brain = on_grid.brain[:, :, slices]
    original = clip_to_network_range(on_grid.scale.normalize(on_grid.data[:, :, slices][brain]))
    moved = finished[:, :, slices][brain] - original
    return QCStatistics(
        before=own,
        after=done,
        target=profile,
        change=float(np.sqrt(np.mean(np.square(moved, dtype=np.float64)))),
        distances=(
            _distance(own.embeddings[compared], wanted),
            _distance(done.embeddings[compared], wanted),
        ),
    )


@frozen(eq=False)
class IntensityMatched:
    """A scan on the network's grid after the curve: network units, clipped; its profile and the
    curve; ``source`` holds its statistics after the curve; ``share``, 0 to 1, of what it deviates
    from its scanner's typical scan was held to be the scanner's."""

    data: NDArray[np.float32]
    original: Profile
    curve: IntensityCurve
    matched: Profile
    scanner_weight: float


def match_intensities(
    on_grid: NetworkInput,
    profile: Profile,
    model: ModelBundle,
    source: SourceProfile | None = None,
) -> IntensityMatched:
    """Bring a scan's intensities to a target profile by one curve, with what is known of the
    scan's scanner.

    Raises
    ------
    ValueError
        The brain is of one intensity.
    """
    own = measure_profile(on_grid, model.encoder)
    curve = harmonization_curve(own, profile, source)
    data = clip_to_network_range(curve(on_grid.scale.normalize(on_grid.data)))
    statistics = position_statistics(data, on_grid, model.encoder)
    after = attrs.evolve(own, embeddings=statistics.embeddings)
    return IntensityMatched(data, own, curve, after, scanner_weight(own, source))


def harmonize_slices(
    matched: IntensityMatched,
    on_grid: NetworkInput,
    profile: Profile,
    model: ModelBundle,
    slices: NDArray[np.intp],
    batch_size: int = 8,
) -> NDArray[np.float32]:
    """Chosen axial slices (X, Y, len(slices)) through the network, in network units of the
    target.

    The network's change counts by the scanner's share: it is conditioned on statistics of one
    person's scan, and the target's are other people's; where those are few, by less.  Beyond the
    positions that the target covers, both are those of the last one: what differs between
    positions is no scanner's.
    """
    covered = position_centre(profile.positions)
    z = np.clip(on_grid.z, covered[0], covered[-1])
    target_z, source_z = profile.embeddings_at(z), matched.matched.embeddings_at(z)
    parts = []
    start, size = 0, batch_size
    while start < len(slices):
        batch = slices[start : start + size]
        arrays = (
            slice_stack(matched.data, batch.tolist()),
            np.ascontiguousarray(np.moveaxis(on_grid.mask[:, :, batch], 2, 0)[:, None]),
            target_z[batch],
            source_z[batch],
        )
        try:
            with torch.inference_mode():
                out = model.network(*(torch.from_numpy(a).to(model.device) for a in arrays))
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise TemporaryFailure(
                    "The device is out of memory; free it, or use --device cpu."
                ) from error
            size = max(1, size // 2)
            LOGGER.warning("Out of device memory: going on with batches of %d slices.", size)
            torch.cuda.empty_cache()
            continue
        parts.append(np.moveaxis(out[:, 1].cpu().numpy(), 0, 2))
        start += len(batch)
    before = matched.data[:, :, slices]
    change = np.concatenate(parts, axis=2) - before
    return before + np.float32(matched.scanner_weight * profile.reliability) * change


def _gain(on_grid: NetworkInput, profile: Profile) -> float:
    """Factor for the air, see :func:`bids_ihf.targets.intensity.background_gain`."""
    return background_gain(profile.scale.high / on_grid.scale.high)


def _compose(
    prepared: Prepared,
    on_grid: NetworkInput,
    curve: IntensityCurve,
    profile: Profile,
    residual: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Curve at the original voxels plus the network's change, in the target's units, air left
    alone."""
    original = prepared.volume.data
    matched = curve(on_grid.scale.normalize(prepared.corrected))
    matched += from_network_grid(residual, on_grid.grid, prepared)
    weight = head_weight(prepared)
    air = original * np.float32(_gain(on_grid, profile))
    return (weight * profile.scale.restore(matched) + (1 - weight) * air).astype(np.float32)


def from_network_grid(
    data: NDArray[np.float32], grid: Grid, prepared: Prepared
) -> NDArray[np.float32]:
    """An array on the network's grid at the native voxels, by one linear interpolation; 0
    outside."""
    return resample(data, grid, prepared.grid, target_to_source=prepared.to_template, order=1)


def feather(mask: NDArray[np.float32], width: float = 1.5) -> NDArray[np.float32]:
    """A weight that is 1 in the brain and falls smoothly to 0 within about four widths (mm) of
    it."""
    grown = ndimage.binary_dilation(
        mask > 0.5, iterations=max(1, round(2 * width / NETWORK_VOXEL_MM))
    )
    smooth = ndimage.gaussian_filter(grown.astype(np.float32), width / NETWORK_VOXEL_MM)
    return np.where(mask > 0.5, np.float32(1), smooth.astype(np.float32))


def _distance(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((ours - theirs) ** 2)))


def _summarize(
    prepared: Prepared,
    on_grid: NetworkInput,
    profile: Profile,
    image: NDArray[np.float32],
    evidence: QCStatistics,
    share: float,
) -> Harmonized:
    original = prepared.volume.data
    change = image - original
    return Harmonized(
        image=image,
        change=change,
        scaling={
            "SourceLow": on_grid.scale.low,
            "SourceHigh": on_grid.scale.high,
            "TargetLow": profile.scale.low,
            "TargetHigh": profile.scale.high,
            "AirGain": _gain(on_grid, profile),
            "ScannerShare": share,
        },
        round_trip_error=float(np.abs((image - change) - original).max() / np.abs(original).max()),
        qc=evidence,
    )
