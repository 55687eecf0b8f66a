"""Match the intensities of an anatomical scan to a target, before the network."""

from __future__ import annotations

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.targets.intensity import IntensityCurve
from bids_ihf.targets.network_input import (
    NetworkInput,
    clip_to_network_range,
    measure_profile,
    position_statistics,
)
from bids_ihf.targets.profile import Profile
from bids_ihf.targets.source_profile import SourceProfile, harmonization_curve, scanner_weight


@frozen(eq=False)
class IntensityMatched:
    """A scan on the network's grid whose intensities were matched to a target by one curve.

    ``original`` and ``matched`` are the scan's profile before and after the ``curve``, with other
    embeddings; ``data`` (X, Y, Z) are the intensities after it, clipped, in network units of the
    target; ``scanner_weight``, 0 to 1, is the weight with which the scan's deviation from its
    scanner's typical profile is attributed to the scanner.
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
