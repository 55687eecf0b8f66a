"""Match the intensities of an anatomical scan to a target, before the network.

Several scans of a person by one scanner can share one mapping, made of their pooled statistics: a
scan's own statistics change with its anatomy, so that two mappings would show change that there is
not, and hide some that there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.geometry.grid import resample
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.targets.intensity import IntensityCurve, IntensityScale
from bids_ihf.targets.network_input import (
    NetworkInput,
    clip_to_network_range,
    measure_profile,
    position_statistics,
)
from bids_ihf.targets.profile import Profile, merge_profiles, position_centre
from bids_ihf.targets.regional import field_on_grid, intensity_field, regions_at
from bids_ihf.targets.source_profile import SourceProfile, harmonization_curve, scanner_weight

MIN_COVERED_FRACTION = 0.5
"""Fraction of a target's tissue that must lie where a scan does for the level of its intensities
to count; in a slab, tissues are told apart otherwise than in a whole brain."""

FIELD_WEIGHT_POWER = 1.5
"""Power of the scanner weight by which the logarithm of the field is multiplied: regions differ
between subjects by more than between scanners of one protocol.  Chosen in docs/method.md."""


@frozen(eq=False)
class IntensityMatched:
    """A scan on the network's grid whose intensities were matched to a target by one curve.

    ``original`` is the scan's profile; ``matched`` is that after the ``curve``, with other
    embeddings, on which the network is conditioned, pooled where scans share a mapping.  ``data``
    (X, Y, Z) are the intensities after the curve, clipped, in network units of the target;
    ``field`` (X, Y, Z) is the smooth ratio by which they are still to be multiplied.
    ``scanner_weight``, 0 to 1, is the weight with which the scan's deviation from its scanner's
    typical profile is attributed to the scanner.
    """

    network_input: NetworkInput
    target: Profile
    original: Profile
    matched: Profile
    curve: IntensityCurve
    data: NDArray[np.float32]
    field: NDArray[np.float32]
    scanner_weight: float

    def with_field(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Intensities (X, Y, Z), network units, multiplied by the field; -1 is no signal."""
        return (data + 1) * self.field - 1


def match_intensities(
    network_input: NetworkInput,
    target: Profile,
    model: ModelBundle,
    source: SourceProfile[Profile] | None = None,
) -> IntensityMatched:
    """Match the intensities of a scan to a target profile by one curve.

    Raises
    ------
    ValueError
        The brain has one intensity only.
    """
    return match_together([network_input], 0, target, model, source)


def match_together(
    scans: Sequence[NetworkInput],
    index: int,
    target: Profile,
    model: ModelBundle,
    source: SourceProfile[Profile] | None = None,
    threads: int = 1,
) -> IntensityMatched:
    """Match the intensities of one of several scans by the curve that all of them share.

    The scans are those of a person by one scanner and protocol, always in the same order; see
    :func:`with_one_scale` for their gains.  ``threads`` batches of slices are in the encoder at a
    time.

    Raises
    ------
    ValueError
        The brain of a scan has one intensity only.
    """
    scans = with_one_scale(scans)
    profiles = [measure_profile(scan, model.encoder, threads=threads) for scan in scans]
    pooled = _pooled(profiles)
    curve = harmonization_curve(pooled, target, source)
    matched, data = [], []
    for scan, profile in zip(scans, profiles, strict=True):
        data.append(clip_to_network_range(curve(scan.scale.normalize(scan.data))))
        statistics = position_statistics(data[-1], scan, model.encoder, threads=threads)
        matched.append(
            attrs.evolve(profile, embeddings=statistics.embeddings, regions=statistics.regions)
        )
    pooled_after, weight = _pooled(matched), scanner_weight(pooled, source)
    return IntensityMatched(
        network_input=scans[index],
        target=target,
        original=profiles[index],
        matched=pooled_after,
        curve=curve,
        data=data[index],
        field=residual_field(scans[index], pooled_after, target, weight**FIELD_WEIGHT_POWER),
        scanner_weight=weight,
    )


def with_one_scale(scans: Sequence[NetworkInput]) -> list[NetworkInput]:
    """Scans of a person with one intensity scale but for their gains, which scanners set anew in
    each session.

    A gain is the median over the common brain of the ratio to the first scan, in which a tissue
    that shrinks or grows does not count; percentiles of the whole brain would change with it.

    Raises
    ------
    ValueError
        Two brains do not overlap.
    """
    first = scans[0]
    gains = [_gain(scan, first) for scan in scans]
    low, high = (
        float(
            np.median([limit(scan.scale) / gain for scan, gain in zip(scans, gains, strict=True)])
        )
        for limit in (attrgetter("low"), attrgetter("high"))
    )
    return [
        attrs.evolve(scan, scale=IntensityScale(low * gain, high * gain))
        for scan, gain in zip(scans, gains, strict=True)
    ]


def _gain(scan: NetworkInput, first: NetworkInput) -> float:
    """Gain of a scan relative to the first one, exactly 1 for that itself."""
    if scan is first:
        return 1.0
    data, mask = (resample(array, scan.grid, first.grid) for array in (scan.data, scan.mask))
    common = first.brain & (mask > 0.5) & (first.data > 0) & (data > 0)
    if not common.any():
        raise ValueError("it does not overlap with another scan of its participant")
    return float(np.median(data[common] / first.data[common]))


def _pooled(profiles: Sequence[Profile]) -> Profile:
    """The profile of a person's scans by one scanner, which stand for one subject."""
    if len(profiles) == 1:
        return profiles[0]
    return attrs.evolve(merge_profiles(profiles), scale=profiles[0].scale, scan_count=1)


def residual_field(
    network_input: NetworkInput, matched: Profile, target: Profile, weight: float
) -> NDArray[np.float32]:
    """Field (X, Y, Z) by which the regions of a scan whose intensities were matched differ from
    those of a target; 1 where one of them has none.

    The logarithm of the field is multiplied by ``weight``.
    """
    if not len(matched.regions) or not len(target.regions):
        return np.ones(network_input.grid.shape, dtype=np.float32)
    typical = regions_at(target.positions, target.regions, matched.positions)
    affine = network_input.grid.affine
    x, y, z = (
        affine[axis, 3] + affine[axis, axis] * np.arange(count)
        for axis, count in enumerate(network_input.grid.shape)
    )
    covered = typical[..., 0].sum() / max(target.regions[..., 0].sum(), 1e-9)
    field = intensity_field(
        matched.regions,
        typical,
        weight,
        keeps_level=covered >= MIN_COVERED_FRACTION,
    )
    return field_on_grid(field, position_centre(matched.positions), (x, y, z))
