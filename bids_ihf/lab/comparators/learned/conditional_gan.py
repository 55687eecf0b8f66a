"""Paired translation: a conditional GAN, and SiMix, which mixes sites.

The conditional GAN (Ravano et al. 2022, MLCN) learns from people scanned by both protocols and
judges translation and source together; the target's protocol is told by planes.  SiMix (Xu et al.
2024, NeuroImage 299:120812) mixes scans of a traveling subject by two sites in training, and
averages the translations of several mixtures of a scan with its translation; it adds a perceptual
loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from bids_ihf.lab.comparators.learned.interface import LearnedComparator, Losses
from bids_ihf.lab.comparators.learned.layers import (
    SiteCritic,
    Translator,
    judgement_loss,
    realness_loss,
)

if TYPE_CHECKING:
    from torch import Tensor

    from bids_ihf.lab.comparators.learned.interface import (
        ComparatorSettings,
        SiteBatch,
        SiteSlices,
    )
    from bids_ihf.network.encoder import Encoder

PIXEL_WEIGHT, ADVERSARIAL_WEIGHT, PERCEPTUAL_WEIGHT = 100.0, 1.0, 100.0
"""Weights, without unit, of the mean absolute difference to the truth, of the adversarial loss,
and of SiMix's perceptual loss: those that pGAN, whose code SiMix's is, is trained with (Dar et al.
2019, IEEE Trans Med Imaging 38:2375)."""

PERCEPTUAL_TAPS = 2
"""Feature maps until that of the perceptual loss, relu2_1."""

MIXING_RANGE = 0.2
"""Largest fraction of the other site in a mixture, positive or negative, as in the published
code."""

VIEW_FRACTIONS = (0.0, 0.1, -0.1, 0.2, -0.2)
"""Fractions of the translation in the views of a scan whose translations are averaged, as in the
published code."""


class ConditionalGAN(LearnedComparator):
    """A paired conditional GAN."""

    def __init__(self, settings: ComparatorSettings) -> None:
        super().__init__(settings)
        sites = len(settings.sites)
        self.translator = Translator(sites, settings.channels, settings.blocks)
        self.critic: SiteCritic = SiteCritic(2, settings.channels, sites)

    def translate(self, slices: SiteSlices) -> Tensor:
        """By the planes of the target site."""
        image: Tensor = self.translator(slices.source, slices.target_site)
        return image

    def losses(self, batch: SiteBatch) -> Losses:
        """L1 to the truth, and how real the pair of source and translation looks."""
        return self._losses(batch, batch.source)

    def _losses(self, batch: SiteBatch, source: Tensor) -> Losses:
        translated = self.translator(source, batch.target_site)
        terms = {
            "pixels": (PIXEL_WEIGHT, F.l1_loss(translated, batch.truth)),
            "adversarial": (ADVERSARIAL_WEIGHT, realness_loss(self._scores(batch, translated))),
        }
        return Losses(terms, translated)

    def critic_loss(self, batch: SiteBatch, translated: Tensor) -> Tensor:
        """The truth is real."""
        return judgement_loss(self._scores(batch, batch.truth), self._scores(batch, translated))

    def _scores(self, batch: SiteBatch, image: Tensor) -> Tensor:
        scores: Tensor = self.critic(torch.cat([image, batch.centre], dim=1), batch.target_site)
        return scores


class SiMix(ConditionalGAN):
    """Site mixing; the encoder gives the features of the perceptual loss."""

    def __init__(self, settings: ComparatorSettings, encoder: Encoder) -> None:
        super().__init__(settings)
        # Not a submodule: its weights are fixed and have a file of their own.
        self._encoder = [encoder]

    def losses(self, batch: SiteBatch) -> Losses:
        """Those of the conditional GAN on a mixture of two sites, and the perceptual loss."""
        shape = (len(batch.source), 1, 1, 1)
        fraction = torch.empty(shape, device=batch.source.device).uniform_(
            -MIXING_RANGE, MIXING_RANGE
        )
        losses = self._losses(batch, mix(batch.source, batch.companion, fraction))
        perceptual = F.l1_loss(
            self._features(losses.translated, batch), self._features(batch.truth, batch)
        )
        return Losses(
            losses.terms | {"perceptual": (PERCEPTUAL_WEIGHT, perceptual)}, losses.translated
        )

    def _features(self, image: Tensor, batch: SiteBatch) -> Tensor:
        stack = image.expand(-1, 3, -1, -1)
        return self._encoder[0](stack, taps=PERCEPTUAL_TAPS, modality=batch.modality)[-1]

    def translate(self, slices: SiteSlices) -> Tensor:
        """The mean over the views of the scan."""
        first = super().translate(slices)
        views = [first]
        for fraction in VIEW_FRACTIONS[1:]:
            view = mix(slices.source, first, fraction)
            views.append(self.translator(view, slices.target_site))
        return torch.stack(views).mean(dim=0)


def mix(image: Tensor, addition: Tensor, fraction: Tensor | float) -> Tensor:
    """``(1 - fraction) image + fraction addition``, not below the level of no signal.

    >>> mix(torch.tensor([0.0, -1.0]), torch.tensor([1.0, 1.0]), -0.2).tolist()
    [-0.20000000298023224, -1.0]
    """
    return torch.clamp(image + fraction * (addition - image), min=-1.0)
