"""Match the intensities of a T1w or T2w scan to a target, before the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from bids_ihf.targets.network_input import (
    clip_to_network_range,
    measure_profile,
    position_statistics,
)
from bids_ihf.targets.source_profile import harmonization_curve, scanner_weight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.intensity import IntensityCurve
    from bids_ihf.targets.network_input import NetworkInput
    from bids_ihf.targets.profile import Profile
    from bids_ihf.targets.source_profile import SourceProfile


@frozen(eq=False)
class IntensityMatched:
    """A scan on the network's grid whose intensities were matched to a target by one curve.

    Attributes
    ----------
    network_input
        The scan before.
    target
        Profile of the target.
    original, matched
        Profile of the scan before and after the curve; these differ in their embeddings alone.
    curve
        The curve, from network units of the scan to those of the target.
    data
        Intensities (X, Y, Z) after the curve, clipped, in network units of the target.
    scanner_weight
        Weight, 0 to 1, with which the scan's deviation from its scanner's typical profile is
        attributed to the scanner.
    """

    network_input: NetworkInput
    target: Profile
    original: Profile
    matched: Profile
    curve: IntensityCurve
    data: NDArray[np.float32]
    scanner_weight: float


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
    original = measure_profile(network_input, model.encoder)
    curve = harmonization_curve(original, target, source)
    data = clip_to_network_range(curve(network_input.scale.normalize(network_input.data)))
    embeddings = position_statistics(data, network_input, model.encoder).embeddings
    return IntensityMatched(
        network_input=network_input,
        target=target,
        original=original,
        matched=attrs.evolve(original, embeddings=embeddings),
        curve=curve,
        data=data,
        scanner_weight=scanner_weight(original, source),
    )
