"""How far a scanner's statistics are from those of every scan known here.

The known scans are simulated ones.  The distance of a scan to the nearest of them is told in units
of the farthest that one of them is from all those of other people, so a score above 1 means: no
simulated scan is as lonely as this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from bids_ihf.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.targets.profile import Profile

REFERENCE_FORMAT = "ihf-harmony familiar scans 1"
REFERENCE_FILE = "familiar.safetensors"
MAX_OUT_OF_RANGE_SCORE = 1.0
"""Score above which an image is flagged."""

MIN_SCAN_FRACTION = 0.5
"""Share of the known scans that must show a slice position for it to count."""


@frozen(eq=False)
class ReferenceDistribution:
    """Known scans of one modality.

    ``positions`` (P,) and their mean embeddings ``means`` (P, E); ``scale`` (E,) is the deviation
    of features among the N ``scans`` (N, E), each the mean over its positions of its embeddings
    less ``means``, in units of ``scale``.  ``unit`` is the distance that counts as 1.
    """

    positions: NDArray[np.int64]
    means: NDArray[np.float32]
    scale: NDArray[np.float32]
    scans: NDArray[np.float32]
    unit: float

    def place(self, profile: Profile) -> NDArray[np.float32] | None:
        """Where a profile stands among the scans (E,); None where it shares no position."""
        ours = np.isin(profile.positions, self.positions)
        if not ours.any():
            return None
        rows = np.searchsorted(self.positions, profile.positions[ours])
        away = (profile.embeddings[ours] - self.means[rows]).mean(axis=0)
        return np.asarray(away / self.scale, dtype=np.float32)

    def score(self, profile: Profile) -> float:
        """Distance to the nearest known scan, in units of the most usual ones are apart; NaN
        where no slice position is shared."""
        place = self.place(profile)
        if place is None:
            return float("nan")
        return float(_distances(place[None], self.scans).min()) / self.unit


@frozen(eq=False)
class ReferenceScans:
    """Known scans by modality, the hash of the encoder that saw them, and how they were made."""

    encoder_hash: str
    modalities: Mapping[str, ReferenceDistribution]
    record: Mapping[str, Any] = field(factory=dict)


def fit_reference_distribution(
    profiles: Sequence[Profile], people: Sequence[str]
) -> tuple[ReferenceDistribution, list[float]]:
    """Known scans from profiles of several people, and the score of each among the others'.

    Raises
    ------
    ValueError
        There are fewer than two people, or no slice position that most scans show.
    """
    if len(set(people)) < 2:
        raise ValueError("known scans must be of two people at least")
    found, seen_by = np.unique(np.concatenate([p.positions for p in profiles]), return_counts=True)
    positions = found[seen_by >= MIN_SCAN_FRACTION * len(profiles)]
    if not positions.size:
        raise ValueError("the scans share no slice position")
    means = np.zeros((len(positions), profiles[0].embeddings.shape[1]))
    counts = np.zeros(len(positions))
    for profile in profiles:
        shared = np.isin(profile.positions, positions)
        rows = np.searchsorted(positions, profile.positions[shared])
        means[rows] += profile.embeddings[shared]
        counts[rows] += 1
    ones = np.ones(means.shape[1], dtype=np.float32)
    start = ReferenceDistribution(
        positions,
        np.asarray(means / counts[:, None], np.float32),
        ones,
        np.empty(0, np.float32),
        1,
    )
    places = np.stack([_placed(start, profile) for profile in profiles])
    scale = np.maximum(places.std(axis=0), 1e-3 * places.std() + 1e-9).astype(np.float32)
    scans = places / scale
    apart = _distances(scans, scans)
    names = np.asarray(people)
    apart[names[:, None] == names[None]] = np.inf
    lonely = apart.min(axis=1)
    unit = float(lonely.max())
    return ReferenceDistribution(positions, start.means, scale, scans, unit), (
        lonely / unit
    ).tolist()


def _placed(known: ReferenceDistribution, profile: Profile) -> NDArray[np.float32]:
    place = known.place(profile)
    if place is None:
        raise ValueError("a scan shares no slice position with the others")
    return place


def _distances(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Root mean square difference over features, (N, M)."""
    return np.stack(
        [np.sqrt(np.mean(np.square(others - one, dtype=np.float64), axis=1)) for one in ones]
    )


def pack_reference(reference: ReferenceScans) -> bytes:
    """A reference as the bytes of a safetensors file."""
    import torch

    from bids_ihf.io.tensors import to_safetensors

    tensors = {}
    for modality, known in reference.modalities.items():
        tensors[f"{modality}.positions"] = torch.from_numpy(known.positions)
        tensors[f"{modality}.means"] = torch.from_numpy(known.means).half()
        tensors[f"{modality}.scale"] = torch.from_numpy(known.scale).float()
        tensors[f"{modality}.scans"] = torch.from_numpy(known.scans).half()
        tensors[f"{modality}.unit"] = torch.tensor([known.unit], dtype=torch.float64)
    header = {
        "format": REFERENCE_FORMAT,
        "encoder": reference.encoder_hash,
        "record": dict(reference.record),
    }
    return to_safetensors(tensors, header)


def read_reference(path: Path) -> ReferenceScans:
    """Read a reference file.

    Raises
    ------
    BadData
        The file is unreadable, altered, of another format, or lacks a part.
    """
    from bids_ihf.io.tensors import read_safetensors

    tensors, header = read_safetensors(path, REFERENCE_FORMAT)
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    try:
        modalities = {
            modality: ReferenceDistribution(
                arrays[f"{modality}.positions"],
                arrays[f"{modality}.means"].astype(np.float32),
                arrays[f"{modality}.scale"],
                arrays[f"{modality}.scans"].astype(np.float32),
                float(arrays[f"{modality}.unit"][0]),
            )
            for modality in sorted({key.split(".")[0] for key in arrays})
        }
    except KeyError as error:
        raise BadData(f"{path}: the part {error} is missing; install the package anew.") from error
    return ReferenceScans(str(header.get("encoder")), modalities, header.get("record", {}))


def shipped_reference(encoder: str) -> ReferenceScans | None:
    """The reference that comes with the package, where it was made with this encoder.

    Raises
    ------
    BadData
        The file cannot be used.
    """
    from bids_ihf.io.paths import packaged_file

    path = packaged_file(REFERENCE_FILE)
    if not path.is_file():
        return None
    found = read_reference(path)
    return found if found.encoder_hash == encoder else None
