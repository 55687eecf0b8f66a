"""Nearest-neighbour out-of-distribution score of a scanner's encoder statistics.

The reference scans are simulated.  The distance of a scan to the nearest of them is divided by the
largest nearest-neighbour distance between scans of different reference subjects, so that a score
above 1 means: farther from all reference scans than any of them is from those of other subjects.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from bids_ihf.errors import BadData
from bids_ihf.io.paths import packaged_file
from bids_ihf.io.tensors import (
    flatten_groups,
    group_tensors,
    read_safetensors,
    to_safetensors,
)
from bids_ihf.targets.profile import Profile

Array = NDArray[np.float32]

REFERENCE_FILE, REFERENCE_FORMAT = "familiar.safetensors", "ihf-harmony familiar scans 1"
"""File of the reference scans in the package's ``data`` folder, and the format in its header."""

MAX_OUT_OF_RANGE_SCORE = 1.0
"""Score above which an image is flagged."""


@frozen(eq=False)
class ReferenceDistribution:
    """Reference scans of one modality.

    ``means`` (P, E) are their mean embeddings at slice ``positions`` (P,), and ``scans`` (N, E)
    their features: the mean over positions of an embedding minus ``means``, divided by the
    standard deviation ``scale`` (E,) over scans.  ``unit`` is the distance of score 1.
    """

    positions: NDArray[np.int64]
    means: Array
    scale: Array
    scans: Array
    unit: float

    def score(self, profile: Profile) -> float:
        """Distance to the nearest reference scan, divided by ``unit``; NaN where the profile has
        no slice position in common with them."""
        features = mean_deviation(profile, self.positions, self.means) / self.scale
        return float(rms_distances(features[None], self.scans).min()) / self.unit


@frozen(eq=False)
class ReferenceScans:
    """Reference distributions by modality, the hash of their encoder, and how they were made."""

    encoder_hash: str
    modalities: Mapping[str, ReferenceDistribution]
    record: Mapping[str, Any] = field(factory=dict)


def mean_deviation(profile: Profile, positions: NDArray[np.int64], means: Array) -> Array:
    """Mean deviation (E,) of embeddings from ``means`` (P, E); NaN without common positions."""
    common = np.isin(profile.positions, positions)
    if not common.any():
        return np.full(means.shape[1], np.nan, dtype=np.float32)
    rows = np.searchsorted(positions, profile.positions[common])
    return np.asarray((profile.embeddings[common] - means[rows]).mean(axis=0), dtype=np.float32)


def rms_distances(first: Array, second: Array) -> NDArray[np.float64]:
    """Root mean square difference (N, M) over features of (N, E) and (M, E)."""
    return np.stack(
        [np.sqrt(np.mean(np.square(second - row, dtype=np.float64), axis=1)) for row in first]
    )


def pack_reference(reference: ReferenceScans) -> bytes:
    """Reference scans as the bytes of a safetensors file."""
    groups: dict[str, dict[str, NDArray[Any]]] = {
        modality: {
            "positions": distribution.positions,
            "means": distribution.means.astype(np.float16),
            "scale": distribution.scale.astype(np.float32),
            "scans": distribution.scans.astype(np.float16),
            "unit": np.array([distribution.unit]),
        }
        for modality, distribution in reference.modalities.items()
    }
    header = {
        "format": REFERENCE_FORMAT,
        "encoder": reference.encoder_hash,
        "record": dict(reference.record),
    }
    return to_safetensors(flatten_groups(groups), header)


def read_reference(path: Path) -> ReferenceScans:
    """Read a file of reference scans.

    Raises
    ------
    BadData
        The file is unreadable, altered, of another format, or incomplete.
    """
    tensors, header = read_safetensors(path, REFERENCE_FORMAT)
    try:
        modalities = {
            modality: ReferenceDistribution(
                positions=arrays["positions"],
                means=arrays["means"].astype(np.float32),
                scale=arrays["scale"],
                scans=arrays["scans"].astype(np.float32),
                unit=float(arrays["unit"][0]),
            )
            for modality, arrays in group_tensors(tensors).items()
        }
    except KeyError as error:
        raise BadData(f"{path}: {error} is missing; reinstall the package.") from error
    return ReferenceScans(str(header.get("encoder")), modalities, header.get("record", {}))


@lru_cache(maxsize=1)
def shipped_reference(encoder_hash: str) -> ReferenceScans | None:
    """The reference scans that come with the package; None if they belong to another encoder.

    Raises
    ------
    BadData
        The file cannot be used.
    """
    path = packaged_file(REFERENCE_FILE)
    if not path.is_file():
        return None
    reference = read_reference(path)
    return reference if reference.encoder_hash == encoder_hash else None
