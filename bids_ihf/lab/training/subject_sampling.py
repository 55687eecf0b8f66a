"""What samplers of slabs share: subjects, the profiles of the others, and chunks of slices."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from bids_ihf.lab.training.slab_scans import SLAB_SLICES
from bids_ihf.lab.training.template_subjects import TemplateSubject
from bids_ihf.lab.training.vendor_profiles import TypicalProfiles
from bids_ihf.network.encoder import Encoder
from bids_ihf.targets.profile import Profile, merge_profiles

SLABS_PER_CHUNK = 12
"""Slabs whose slices are shuffled together, so that the slices of a batch are of several."""

Rows = TypeVar("Rows")


class SubjectSampler(ABC, Generic[Rows]):
    """Draws rows of training from slabs of subjects; the same seed and step give the same batch.

    Parameters
    ----------
    subjects
        Subjects that are scanned, and that the profiles of targets are of.
    typical
        Profiles of the subjects by the vendors' typical scanners.
    modalities
        What is drawn from.
    batch
        Slices in a batch.
    """

    def __init__(
        self,
        subjects: Sequence[TemplateSubject],
        typical: TypicalProfiles,
        *,
        modalities: Sequence[str],
        batch: int,
        seed: int,
    ) -> None:
        self.subjects = self.others = subjects
        self.typical = typical
        self.modalities = modalities
        self.batch = batch
        self.seed = seed

    def of_subjects(self, subjects: Sequence[TemplateSubject]) -> Self:
        """A sampler of other subjects, to targets from those of this one."""
        sampler = copy.copy(self)
        sampler.subjects = subjects
        return sampler

    @property
    def steps_per_chunk(self) -> int:
        """Batches that are made of one chunk of slabs."""
        return max(1, SLABS_PER_CHUNK * SLAB_SLICES // self.batch)

    def draw_slabs(self, *seed: int) -> tuple[list[Rows], NDArray[np.intp]]:
        """The rows of each slab of a chunk, and a random order of all its slices."""
        slabs = -(-self.steps_per_chunk * self.batch // SLAB_SLICES)
        rows = [self.draw_rows([*seed, slab]) for slab in range(slabs)]
        return rows, np.random.default_rng(seed).permutation(slabs * SLAB_SLICES)

    def draw_rows(self, seed: Sequence[int], modality: str | None = None) -> Rows:
        """The rows of a slab; the seed draws subjects, scanners and, if not given, the
        modality."""
        rng = np.random.default_rng(seed)
        while True:
            drawn = self.modalities[int(rng.integers(len(self.modalities)))]
            try:
                return self.rows_of(modality or drawn, rng)
            except ValueError:  # a scanner whose images show nothing
                continue

    @abstractmethod
    def rows_of(self, modality: str, rng: np.random.Generator) -> Rows:
        """The rows of a slab of a modality.

        Raises
        ------
        ValueError
            The images by a scanner that was drawn show nothing.
        """

    def typical_profile(self, vendor: str, modality: str, subject: TemplateSubject) -> Profile:
        """The profile of a vendor's typical scanner from everyone but a subject."""
        profiles = self.typical[vendor, modality]
        return merge_profiles([p for name, p in profiles.items() if name != subject.name])

    def others_than(self, subject: TemplateSubject) -> list[TemplateSubject]:
        """The other subjects; this one where there is no other."""
        return [other for other in self.others if other.name != subject.name] or [subject]

    def draw_others(
        self, subject: TemplateSubject, most: int, rng: np.random.Generator
    ) -> list[TemplateSubject]:
        """One to ``most`` subjects, not this one unless there is no other."""
        others = self.others_than(subject)
        count = int(rng.integers(1, min(most, len(others)) + 1))
        return [others[k] for k in rng.choice(len(others), count, replace=False)]


class EncodingSampler(SubjectSampler[Rows]):
    """A sampler of pairs with targets, whose embeddings ``encoder`` gives, on the CPU."""

    def __init__(
        self,
        subjects: Sequence[TemplateSubject],
        typical: TypicalProfiles,
        encoder: Encoder,
        *,
        modalities: Sequence[str],
        batch: int,
        seed: int,
    ) -> None:
        super().__init__(subjects, typical, modalities=modalities, batch=batch, seed=seed)
        self.encoder = encoder
