"""Batches for the network, and how they are drawn from a pool of a user's own scans."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from attrs import frozen

from bids_ihf.network.context import slice_context
from bids_ihf.network.encoder import modality_weights
from bids_ihf.targets.network_input import clip_to_network_range
from bids_ihf.targets.profile import merge_profiles, slice_position
from bids_ihf.targets.source_profile import SourceProfile, harmonization_curve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from bids_ihf.lab.training.scan_pool import PoolScan, ScanPool
    from bids_ihf.targets.profile import Profile

    Array = NDArray[np.float32]

MIN_BRAIN_PIXELS = 400
"""Brain pixels of a slice that is used for training."""

SLAB_PROBABILITY = 0.25
"""Probability that the target profile covers only a slab of slice positions."""

SAME_SUBJECT_PROBABILITY = 0.15
"""Probability that the target profile is that of the same subject, as of a traveling subject."""

SOURCE_PROFILE_PROBABILITY = 0.6
"""Probability that the source scanner's profile from other subjects is used."""

STRIPPED_PROBABILITY = 0.3
"""Probability that everything outside the brain is removed."""


@frozen(eq=False)
class Batch:
    """One training step.

    source: intensity-matched source slices with their neighbours, (B, 3, X, Y).
    truth: (B, 1, X, Y) slices by the target's scanner; None for unpaired data.
    mask: brain masks (B, 1, X, Y), 0 to 1.
    target: embeddings (B, E) of the target.
    modality: weights (B, modalities) by `encoder.modality_weights`.
    context: (B, C) by `context.slice_context`.
    """

    source: Tensor
    truth: Tensor | None
    mask: Tensor
    target: Tensor
    modality: Tensor
    context: Tensor


def slice_with_neighbours(data: NDArray[np.float16], index: int) -> Array:
    """A slice of (Z, X, Y) with its two neighbours, (3, X, Y); repeated at the ends.

    >>> slice_with_neighbours(np.arange(3, dtype=np.float16).reshape(3, 1, 1), 0).ravel()
    array([0., 0., 1.], dtype=float32)
    """
    rows = np.clip([index - 1, index, index + 1], 0, len(data) - 1)
    return data[rows].astype(np.float32)


def usable_slices(mask: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Indices of the slices of a mask (Z, X, Y), 0 to 255, with enough brain for training."""
    area = (mask > 127).sum(axis=(1, 2))
    return np.flatnonzero(area >= min(MIN_BRAIN_PIXELS, area.max()))


def profile_slab(profile: Profile, z: float, rng: np.random.Generator) -> Profile:
    """A profile restricted to a slab of 4 to 9 positions around an axial coordinate (mm)."""
    first = int(slice_position(np.array(z))) - int(rng.integers(0, 5))
    inside = (profile.positions >= first) & (profile.positions < first + rng.integers(4, 10))
    if not inside.any():
        return profile
    return attrs.evolve(
        profile,
        positions=profile.positions[inside],
        histograms=profile.histograms[inside],
        embeddings=profile.embeddings[inside],
    )


class Sampler:
    """Draws batches from a pool; the same seed and step give the same batch.

    Parameters
    ----------
    profiles
        The profile of every scan, by its file.
    batch
        Slices in a batch.
    """

    def __init__(
        self, pool: ScanPool, profiles: Mapping[str, Profile], *, batch: int, seed: int
    ) -> None:
        self.pool = pool
        self.profiles = profiles
        self.batch = batch
        self.seed = seed
        self.by_site: dict[tuple[str, str], list[PoolScan]] = defaultdict(list)
        for scan in pool.scans:
            self.by_site[scan.site, scan.modality].append(scan)
        self.usable = {scan.file: usable_slices(pool.mask(scan)) for scan in pool.scans}

    steps_per_chunk = 1

    def chunk(self, number: int) -> list[Batch]:
        """The batch of a step, which is a chunk by itself."""
        rng = np.random.default_rng([self.seed, number])
        rows = [self._draw_row(rng) for _ in range(self.batch)]
        sources, masks, embeddings, modalities, contexts = zip(*rows, strict=True)
        return [
            Batch(
                source=torch.from_numpy(np.stack(sources)),
                truth=None,
                mask=torch.from_numpy(np.stack(masks))[:, None],
                target=torch.from_numpy(np.stack(embeddings)),
                modality=torch.cat([modality_weights(name, 1) for name in modalities]),
                context=torch.from_numpy(np.concatenate(contexts)),
            )
        ]

    def _draw_row(self, rng: np.random.Generator) -> tuple[Array, Array, Array, str, Array]:
        """Source slices, mask, target embedding, modality and context of a row of the batch."""
        source = self._draw_scan(self.pool.scans, rng)
        profile = self._target_profile(source, rng)
        index = int(rng.choice(self.usable[source.file]))
        if rng.random() < SLAB_PROBABILITY:
            profile = profile_slab(profile, source.z[index], rng)
        curve = harmonization_curve(
            self.profiles[source.file], profile, self._source_profile(source, rng)
        )
        slices = slice_with_neighbours(self.pool.data(source), index)
        matched = clip_to_network_range(curve(slices))
        z = source.z[index : index + 1]
        embedding = profile.embeddings_at(z)[0]
        mask = self.pool.mask(source)[index].astype(np.float32) / 255
        if rng.random() < STRIPPED_PROBABILITY:
            matched = np.where(mask > 0.5, matched, np.float32(-1))
        if rng.random() < 0.5:  # mirror left and right
            matched, mask = matched[:, ::-1], mask[::-1]
        return matched, mask, embedding, source.modality, slice_context(source.modality, z)

    @staticmethod
    def _draw_scan(scans: Sequence[PoolScan], rng: np.random.Generator) -> PoolScan:
        return scans[int(rng.integers(len(scans)))]

    def _target_profile(self, source: PoolScan, rng: np.random.Generator) -> Profile:
        """The profile of a target's site from one to eight other subjects, if there are others."""
        same_modality = [s for s in self.pool.scans if s.modality == source.modality]
        target = self._draw_scan(same_modality, rng)
        scans = self._scans_of_other_subjects(target, source.subject)
        if not scans:
            return self.profiles[target.file]
        return self._merged_profile(scans, min(len(scans), int(rng.integers(1, 9))), rng)

    def _source_profile(
        self, source: PoolScan, rng: np.random.Generator
    ) -> SourceProfile[Profile] | None:
        """The source scanner's profile from one to six other subjects, or None."""
        scans = self._scans_of_other_subjects(source, source.subject)
        if not scans or rng.random() >= SOURCE_PROFILE_PROBABILITY:
            return None
        count = int(rng.integers(1, min(len(scans), 6) + 1))
        return SourceProfile(self._merged_profile(scans, count, rng))

    def _scans_of_other_subjects(self, scan: PoolScan, subject: str) -> list[PoolScan]:
        """Scans by the scanner of ``scan`` of everyone but ``subject``."""
        return [s for s in self.by_site[scan.site, scan.modality] if s.subject != subject]

    def _merged_profile(
        self, scans: list[PoolScan], count: int, rng: np.random.Generator
    ) -> Profile:
        chosen = rng.choice(len(scans), count, replace=False)
        return merge_profiles([self.profiles[scans[i].file] for i in chosen])
