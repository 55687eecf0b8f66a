"""Batches for the network from slabs that are scanned anew, by scanners drawn anew."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from bids_ihf.lab.simulation.random_scanners import random_scanner
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner, vendor_scanner
from bids_ihf.lab.training.batch_sampling import (
    SAME_SUBJECT_PROBABILITY,
    SLAB_PROBABILITY,
    Batch,
    profile_slab,
)
from bids_ihf.lab.training.drawn_scanners import (
    draw,
    draw_target,
    knows_scanner,
    knows_vendor,
)
from bids_ihf.lab.training.map_rows import draw_map_rows
from bids_ihf.lab.training.slab_rows import (
    UNKNOWN_MODALITY_PROBABILITY,
    SlabRows,
    stacked,
    vary_rows,
)
from bids_ihf.lab.training.slab_scans import SLAB_SLICES, random_slab, scan_slab
from bids_ihf.lab.training.subject_sampling import EncodingSampler
from bids_ihf.lab.training.whole_scans import measure_scan, slab_of
from bids_ihf.network.context import slice_context
from bids_ihf.network.encoder import modality_weights
from bids_ihf.targets.map_profiles import DIFFUSION_MAPS
from bids_ihf.targets.network_input import clip_to_network_range
from bids_ihf.targets.profile import merge_profiles
from bids_ihf.targets.source_profile import SourceProfile, harmonization_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.training.drawn_scanners import Drawn
    from bids_ihf.lab.training.slab_scans import Slab
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.targets.profile import Profile

    Array = NDArray[np.float32]

MAX_TARGET_SUBJECTS = 2
"""Most subjects behind a target, or behind the profile of a source's scanner, that is drawn; each
is a whole scan."""


def draw_scanner(modality: Modality, rng: np.random.Generator) -> Drawn[Scanner]:
    """A scanner of a vendor, or a random one."""
    return draw(
        lambda vendor, seed: vendor_scanner(vendor, modality, seed),
        lambda seed: random_scanner(modality, seed),
        rng,
    )


class SlabSampler(EncodingSampler[SlabRows]):
    """Draws batches of simulated pairs."""

    def chunk(self, number: int) -> list[Batch]:
        """The batches of a chunk: the slices of its slabs in random order."""
        return self.batches(*self.draw_slabs(self.seed, number))

    def batches(self, rows: Sequence[SlabRows], order: NDArray[np.intp]) -> list[Batch]:
        """The batches of a chunk, of the slices of its slabs in an order."""
        columns = [
            torch.from_numpy(np.concatenate([getattr(slab, name) for slab in rows])[order])
            for name in ("matched", "truth", "mask", "target", "context")
        ]
        weights = torch.cat([modality_weights(slab.modality, SLAB_SLICES) for slab in rows])
        columns.append(weights[torch.from_numpy(order)])
        portions = zip(*(torch.split(column, self.batch) for column in columns), strict=True)
        return [
            Batch(source, truth[:, None], mask[:, None], target, modality, context)
            for source, truth, mask, target, context, modality in islice(
                portions, self.steps_per_chunk
            )
        ]

    def rows_of(self, modality: str, rng: np.random.Generator) -> SlabRows:
        """The rows of a slab of a modality."""
        if modality in DIFFUSION_MAPS:
            return draw_map_rows(self, modality, rng)
        return self._draw_rows(cast("Modality", modality), rng)

    def _draw_rows(self, modality: Modality, rng: np.random.Generator) -> SlabRows:
        subject = self.subjects[int(rng.integers(len(self.subjects)))]
        source, target = draw_scanner(modality, rng), self._draw_target(modality, rng)
        slab = random_slab(subject, rng)
        noise = int(rng.integers(2**31))
        scan, own = measure_scan(subject, source.scanner, noise, slab.shifts, self.encoder)
        scaled = slab_of(scan, slab)
        truth, repeat = scan_slab(subject, slab, target.scanner, noise + 1)
        z = subject.z[slab.first : slab.stop]
        mask = subject.brain_mask(slab.first, slab.stop)
        if rng.random() < SAME_SUBJECT_PROBABILITY:
            _, profile = measure_scan(
                subject, target.scanner, noise + 1, slab.shifts, self.encoder
            )
        else:
            profile = self._target_profile(subject, slab, target, modality, rng)
        if rng.random() < SLAB_PROBABILITY:
            profile = profile_slab(profile, float(z[len(z) // 2]), rng)
        known = self._source_profile(subject, source, modality, slab, rng)
        curve = harmonization_curve(own, profile, known)
        ratio = np.float32(
            (repeat.scale.high - repeat.scale.low) / (profile.scale.high - profile.scale.low)
        )
        index = np.sort(rng.choice(len(z), SLAB_SLICES, replace=len(z) < SLAB_SLICES))
        stacks = [stacked(scaled, index)]
        stacks.append(clip_to_network_range(curve(stacks[0])))
        rows = [*stacks, (truth[index + 1] + 1) * ratio - 1, mask[index]]
        source_rows, matched, truth_rows, mask_rows = vary_rows(rows, rng)
        told = modality if rng.random() >= UNKNOWN_MODALITY_PROBABILITY else ""
        return SlabRows(
            source_rows,
            matched,
            truth_rows,
            mask_rows,
            target=profile.embeddings_at(z[index]),
            context=slice_context(told, z[index]),
            modality=modality,
        )

    @staticmethod
    def _draw_target(modality: Modality, rng: np.random.Generator) -> Drawn[Scanner]:
        return draw_target(
            lambda vendor, seed: typical_scanner(vendor, modality, seed),
            lambda: draw_scanner(modality, rng),
            rng,
        )

    def _target_profile(
        self,
        subject: TemplateSubject,
        slab: Slab,
        target: Drawn[Scanner],
        modality: Modality,
        rng: np.random.Generator,
    ) -> Profile:
        """The target's profile from other subjects."""
        if target.typical:
            return self.typical_profile(target.vendor, modality, subject)
        return self._profile_of_others(subject, target.scanner, slab, rng)

    def _source_profile(
        self,
        subject: TemplateSubject,
        source: Drawn[Scanner],
        modality: Modality,
        slab: Slab,
        rng: np.random.Generator,
    ) -> SourceProfile[Profile] | None:
        """The typical profile of the source's vendor, or that of its scanner, or None."""
        if knows_vendor(source, rng):
            return SourceProfile(
                self.typical_profile(source.vendor, modality, subject), name=source.vendor
            )
        if not knows_scanner(rng):
            return None
        profile = self._profile_of_others(subject, source.scanner, slab, rng)
        return SourceProfile(profile, subjects=profile.scan_count)

    def _profile_of_others(
        self, subject: TemplateSubject, scanner: Scanner, slab: Slab, rng: np.random.Generator
    ) -> Profile:
        """The profile of a scanner from other subjects."""
        profiles = []
        for other in self.draw_others(subject, MAX_TARGET_SUBJECTS, rng):
            noise = int(rng.integers(2**31))
            profiles.append(measure_scan(other, scanner, noise, slab.shifts, self.encoder)[1])
        return merge_profiles(profiles)
