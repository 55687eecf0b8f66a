"""Harmonic energies of a scanner's series in a common space, averaged over people who are matched
with those of another scanner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.targets.diffusion_profile import B_VALUE_TOLERANCE

MATCHED_GROUP = "matched"
"""Group of a target file's arrays."""

COMMON_SPACE_SHAPE = (28, 34, 26)
"""Cells over the bounding box of a brain in template space, about 6 mm each."""


@frozen(eq=False)
class MatchedMaps:
    """Rotation-invariant features of each shell.

    features: (S, 2, X, Y, Z) mean over directions, and root of the energy of order 2, relative to
        b = 0, in `COMMON_SPACE_SHAPE` cells; NaN where no brain is.
    b_values: (S,) of the shells, s/mm2.
    people: number of series.
    """

    features: NDArray[np.float32]
    b_values: NDArray[np.float64]
    people: int

    def shell(self, b: float) -> NDArray[np.float32] | None:
        """Features (2, X, Y, Z) of the shell at a b-value; None without such a shell."""
        distance = np.abs(self.b_values - b)
        nearest = int(distance.argmin())
        return self.features[nearest] if distance[nearest] <= B_VALUE_TOLERANCE * b else None

    def stored(self) -> dict[str, NDArray[Any]]:
        """Arrays of a target file."""
        return {
            "features": self.features,
            "b_values": self.b_values,
            "people": np.array(self.people),
        }


def from_stored(arrays: Mapping[str, NDArray[Any]]) -> MatchedMaps:
    """What `MatchedMaps.stored` wrote.

    Raises
    ------
    ValueError
        The arrays do not fit each other.
    """
    features, b_values = arrays["features"], arrays["b_values"]
    if features.shape != (len(b_values), 2, *COMMON_SPACE_SHAPE):
        raise ValueError("its arrays do not fit each other")
    return MatchedMaps(features.astype(np.float32), b_values, int(arrays["people"]))


def merge_matched(series: Sequence[MatchedMaps]) -> MatchedMaps:
    """The mean over several series of one protocol, in each cell over those that cover it."""
    stack = np.stack([one.features for one in series]).astype(np.float64)
    mean = np.ma.masked_array(stack, mask=~np.isfinite(stack)).mean(axis=0).filled(np.nan)
    return MatchedMaps(
        mean.astype(np.float32), series[0].b_values, sum(one.people for one in series)
    )
