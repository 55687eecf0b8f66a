"""What one training step sees: the same slices by two scanners, and the target as other people
show it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from attrs import frozen

from bids_ihf.lab.training.simulated_pool import RANDOM_VENDOR
from bids_ihf.targets.network_input import clip_to_network_range
from bids_ihf.targets.profile import merge_profiles, slice_position
from bids_ihf.targets.source_profile import SourceProfile, harmonization_curve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from bids_ihf.lab.training.scan_pool import PoolScan, ScanPool
    from bids_ihf.targets.profile import Profile

MIN_BRAIN_PIXELS = 400
"""Brain pixels a training slice needs."""

SLAB_PROBABILITY = 0.25
"""How often the target is known from a slab of a few positions only."""

SAME_SUBJECT_PROBABILITY = 0.15
"""How often the target is known from the same person's scan, as of a traveling subject."""

SOURCE_PROFILE_PROBABILITY = 0.6
"""How often the source's scanner is known from other people's scans."""

VENDOR_SCAN_PROBABILITY = 0.5
"""How often a scan is drawn from those of the vendors, where others are there, too: it is their
scanners that most scans come from and most are brought to."""

STRIPPED_PROBABILITY = 0.3
"""How often what is outside the brain is not shown."""


@frozen(eq=False)
class Batch:
    """Matched source slices (B, 3, X, Y), truth (B, 1, X, Y) or None, mask, target embeddings (B,
    E)."""

    source: Tensor
    truth: Tensor | None
    mask: Tensor
    target: Tensor


def slice_with_neighbours(data: NDArray[np.float16], index: int) -> NDArray[np.float32]:
    """A slice of (Z, X, Y) with its neighbours: (3, X, Y)."""
    rows = np.clip([index - 1, index, index + 1], 0, len(data) - 1)
    return data[rows].astype(np.float32)


def usable_slices(mask: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Indices of the slices of (Z, X, Y) that show enough brain to learn from."""
    area = (mask > 127).sum(axis=(1, 2))
    return np.flatnonzero(area >= min(MIN_BRAIN_PIXELS, area.max()))


def profile_slab(profile: Profile, z: float, rng: np.random.Generator) -> Profile:
    """The part of a profile that a slab of 4 to 9 positions round an axial coordinate shows."""
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


def _stripped(x: NDArray[np.float32], inside: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without what lies outside the brain."""
    return np.where(inside > 0.5, x, np.float32(-1))


def _pick(scans: Sequence[PoolScan], rng: np.random.Generator) -> PoolScan:
    """One of some scans, see MAKER_CHANCE."""
    makers = [scan for scan in scans if scan.vendor != RANDOM_VENDOR]
    chosen = makers if makers and rng.random() < VENDOR_SCAN_PROBABILITY else scans
    return chosen[int(rng.integers(len(chosen)))]


class Sampler:
    """Draws batches from a pool; the same seed and step give the same batch."""

    def __init__(
        self,
        pool: ScanPool,
        profiles: Mapping[str, Profile],
        *,
        batch: int,
        seed: int,
        paired: bool,
    ) -> None:
        self.pool = pool
        self.profiles = profiles
        self.batch = batch
        self.seed = seed
        self.paired = paired
        self.by_person: dict[tuple[str, str], list[PoolScan]] = defaultdict(list)
        self.by_site: dict[tuple[str, str], list[PoolScan]] = defaultdict(list)
        for scan in pool.scans:
            self.by_person[scan.person, scan.modality].append(scan)
            self.by_site[scan.site, scan.modality].append(scan)
        self.usable = {scan.file: usable_slices(pool.mask(scan)) for scan in pool.scans}

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        rows = [self._draw(rng) for _ in range(self.batch)]
        sources, truths, masks, targets = zip(*rows, strict=True)
        truth = torch.from_numpy(np.stack(truths))[:, None] if self.paired else None
        return Batch(
            source=torch.from_numpy(np.stack(sources)),
            truth=truth,
            mask=torch.from_numpy(np.stack(masks))[:, None],
            target=torch.from_numpy(np.stack(targets)),
        )

    def _draw(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        source = _pick(self.pool.scans, rng)
        aim = self._aim(source, rng)
        profile = self._reference(source, aim, rng)
        mask = self.pool.mask(source)
        index = int(rng.choice(self.usable[source.file]))
        if rng.random() < SLAB_PROBABILITY:
            profile = profile_slab(profile, source.z[index], rng)
        known = self._known(source, rng)
        curve = harmonization_curve(self.profiles[source.file], profile, known)
        matched = clip_to_network_range(
            curve(slice_with_neighbours(self.pool.data(source), index))
        )
        truth = matched[1] if not self.paired else self._truth(aim, profile, index)
        embedding = profile.embeddings_at(source.z[index : index + 1])[0]
        inside = mask[index].astype(np.float32) / 255
        if rng.random() < STRIPPED_PROBABILITY:
            matched, truth = _stripped(matched, inside), _stripped(truth, inside)
        if rng.random() < 0.5:  # left and right
            matched, truth, inside = matched[:, ::-1], truth[::-1], inside[::-1]
        return matched, truth, inside, embedding

    def _aim(self, source: PoolScan, rng: np.random.Generator) -> PoolScan:
        """The scan that shows the truth: the same person by another (or the same) scanner."""
        if self.paired:
            choices = self.by_person[source.person, source.modality]
        else:
            choices = [s for s in self.pool.scans if s.modality == source.modality]
        return _pick(choices, rng)

    def _known(self, source: PoolScan, rng: np.random.Generator) -> SourceProfile[Profile] | None:
        """The source's scanner as one to six other people show it, where that is known."""
        others = self._others(source, source.person)
        if not others or rng.random() >= SOURCE_PROFILE_PROBABILITY:
            return None
        count = int(rng.integers(1, min(len(others), 6) + 1))
        return SourceProfile(self._merged(others, count, rng))

    def _others(self, scan: PoolScan, person: str) -> list[PoolScan]:
        """Scans of other people by the scanner of ``scan``."""
        return [s for s in self.by_site[scan.site, scan.modality] if s.person != person]

    def _merged(self, scans: list[PoolScan], count: int, rng: np.random.Generator) -> Profile:
        chosen = rng.choice(len(scans), count, replace=False)
        return merge_profiles([self.profiles[scans[i].file] for i in chosen])

    def _reference(self, source: PoolScan, aim: PoolScan, rng: np.random.Generator) -> Profile:
        """The target's profile as one to eight other people give it, rarely the person."""
        if self.paired and rng.random() < SAME_SUBJECT_PROBABILITY:
            return self.profiles[aim.file]
        others = self._others(aim, source.person)
        if not others:
            return self.profiles[aim.file]
        return self._merged(others, min(len(others), int(rng.integers(1, 9))), rng)

    def _truth(self, aim: PoolScan, profile: Profile, index: int) -> NDArray[np.float32]:
        """The other scanner's slice in the units of the reference people's scans."""
        own = self.pool.data(aim)[index].astype(np.float32)
        ratio = (aim.scale.high - aim.scale.low) / (profile.scale.high - profile.scale.low)
        return (own + 1.0) * ratio - 1.0
