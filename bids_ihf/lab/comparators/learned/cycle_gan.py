"""CycleGAN (Zhu et al. 2017, ICCV): a translator for every ordered pair of sites, unpaired.

Cycle consistency, identity and least-squares adversarial losses with the published weights.  Pairs
are of one modality.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bids_ihf.lab.comparators.learned.interface import LearnedComparator, Losses
from bids_ihf.lab.comparators.learned.layers import (
    SiteCritic,
    Translator,
    judgement_loss,
    realness_loss,
)

if TYPE_CHECKING:
    from bids_ihf.lab.comparators.learned.interface import (
        ComparatorSettings,
        SiteBatch,
        SiteSlices,
    )

CYCLE_WEIGHT, IDENTITY_WEIGHT, ADVERSARIAL_WEIGHT = 10.0, 5.0, 1.0
"""Weights, without unit, of the cycle, of what is of the target's site already, and of the
adversarial loss: the published ones, lambda = 10 and half of it."""


class CycleGAN(LearnedComparator):
    """Translators by pair of sites; a scan of the target site itself stays as it is."""

    needs_source_site = True

    def __init__(self, settings: ComparatorSettings) -> None:
        super().__init__(settings)
        self.pairs = [
            (first, second)
            for first, second in permutations(range(len(settings.sites)), 2)
            if settings.sites[first].split(" ")[1] == settings.sites[second].split(" ")[1]
        ]
        self.translators = nn.ModuleList(
            Translator(0, settings.channels, settings.blocks) for _ in self.pairs
        )
        self.critic: SiteCritic = SiteCritic(1, settings.channels, len(settings.sites))

    def _translate(self, stack: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Slices (B, 3, H, W) of sites (B,) to slices (B, 1, H, W) of others (B,)."""
        rows = list(stack[:, 1:2])
        for number, pair in enumerate(self.pairs):
            index = ((source == pair[0]) & (target == pair[1])).nonzero().flatten()
            if len(index):
                changed = self.translators[number](stack[index])
                for row, image in zip(index.tolist(), changed, strict=True):
                    rows[row] = image
        return torch.stack(rows)

    def translate(self, slices: SiteSlices) -> Tensor:
        """By the translator from the source's site to the target's."""
        return self._translate(slices.source, slices.source_site, slices.target_site)

    def losses(self, batch: SiteBatch) -> Losses:
        """There and back again, and what is of the target's site already stays."""
        source, target = batch.source_site, batch.target_site
        translated = self._translate(batch.source, source, target)
        back = self._translate(translated.expand_as(batch.source), target, source)
        same = self._translate(batch.reference, source, target)
        terms = {
            "cycle": (CYCLE_WEIGHT, F.l1_loss(back, batch.centre)),
            "identity": (IDENTITY_WEIGHT, F.l1_loss(same, batch.reference[:, 1:2])),
            "adversarial": (ADVERSARIAL_WEIGHT, realness_loss(self.critic(translated, target))),
        }
        return Losses(terms, translated)

    def critic_loss(self, batch: SiteBatch, translated: Tensor) -> Tensor:
        """Scans by the target's scanner are real."""
        real = self.critic(batch.reference[:, 1:2], batch.target_site)
        return judgement_loss(real, self.critic(translated, batch.target_site))
