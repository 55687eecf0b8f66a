"""IHF-Harmony as its paper prints it (arXiv 2602.21536, Eqs. 1 to 5).

Absolute artefact-aware normalization, the printed reverse pass, the two losses with weights 1 and
2, unpaired scans, and no intensity curve before it.  Squeezing stands before every flow, as in the
paper's figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bids_ihf.lab.comparators.learned.interface import LearnedComparator, Losses
from bids_ihf.lab.training.losses import anatomy_loss, artefact_loss, split_embedding
from bids_ihf.network.encoder import join_statistics
from bids_ihf.network.flow import Architecture, IHFNetwork

if TYPE_CHECKING:
    from torch import Tensor

    from bids_ihf.lab.comparators.learned.interface import (
        ComparatorSettings,
        SiteBatch,
        SiteSlices,
    )
    from bids_ihf.network.encoder import Encoder

ANATOMY_WEIGHT, ARTEFACT_WEIGHT = 1.0, 2.0
"""Weights, without unit, of the anatomy loss, Eq. (3), and of the artefact loss, Eq. (4), in their
sum, Eq. (5)."""

LOSS_MAPS = 3
"""Feature maps of the artefact loss, relu1_1 to relu3_1; the last is that of the anatomy loss."""


class PrintedIHF(LearnedComparator):
    """The printed network; a reference scan gives the target's embedding."""

    copies_reference = True

    def __init__(self, settings: ComparatorSettings, encoder: Encoder) -> None:
        super().__init__(settings)
        self._encoder = [encoder]
        channels = settings.channels
        self.network = IHFNetwork(
            Architecture(
                embedding=encoder.size,
                hidden=(2 * channels, 4 * channels),
                style=4 * channels,
                form="printed",
                reverse="printed",
            )
        )

    def _harmonize(self, slices: SiteSlices) -> tuple[Tensor, Tensor]:
        """Slices (B, 3, H, W), and the embedding (B, E) of the target."""
        with torch.no_grad():
            maps = self._encoder[0](slices.reference, modality=slices.modality)
            target = join_statistics(maps, slices.reference_mask)
        # The printed normalization does not look at the source's embedding.
        image: Tensor = self.network(slices.source, slices.mask, target, target)
        return image, target

    def translate(self, slices: SiteSlices) -> Tensor:
        """To the embedding of the reference."""
        return self._harmonize(slices)[0][:, 1:2]

    def losses(self, batch: SiteBatch) -> Losses:
        """Eqs. (3) to (5)."""
        image, embedding = self._harmonize(batch)
        encoder = self._encoder[0]
        output = encoder(image, taps=LOSS_MAPS, modality=batch.modality)
        with torch.no_grad():
            source = encoder(batch.source, taps=LOSS_MAPS, modality=batch.modality)
        target = split_embedding(embedding, encoder.channels)[:LOSS_MAPS]
        terms = {
            "anatomy": (ANATOMY_WEIGHT, anatomy_loss(source[-1], output[-1])),
            "artefact": (ARTEFACT_WEIGHT, artefact_loss(output, target, batch.mask)),
        }
        return Losses(terms, image[:, 1:2])
