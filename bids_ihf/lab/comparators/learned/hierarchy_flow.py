"""Hierarchy Flow (Fan et al. 2023, arXiv 2308.06909): a reversible flow with AdaIN.

Hierarchical coupling without squeezing, a style encoder for a reference image, and on the way back
adaptive instance normalization (AdaIN; Huang & Belongie 2017, ICCV) to statistics that a small
network makes of the style.  A content loss on normalized features and an aligned style loss,
which leaves out the channels that differ most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bids_ihf.lab.comparators.learned.interface import LearnedComparator, Losses
from bids_ihf.lab.comparators.learned.layers import BrainNorm, convolution
from bids_ihf.network.coupling import couple, fuse_exact
from bids_ihf.network.flow import INPUT_SLICES
from bids_ihf.network.statistics import channel_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.lab.comparators.learned.interface import (
        ComparatorSettings,
        SiteBatch,
        SiteSlices,
    )
    from bids_ihf.network.encoder import Encoder

STYLE_SIZE = 8
"""Length of a style code."""

FUSION_WEIGHT = 0.5
"""Weight of a split against the state below it on the way back."""

ALIGNED_FRACTION = 0.8
"""Fraction k of the channels, those whose means differ least, in the style loss."""

STYLE_WEIGHT = 1.0
"""Weight of the style loss against the content loss, without unit.  It is ours: the published
configurations have 0.1, for features of VGG19, which those of our encoder are not."""

FEATURE_MAPS = 4
"""Feature maps of the style loss, relu1_1 to relu4_1, as in the published code; the last is that
of the content loss."""


class CouplingBlock(nn.Module):
    """A coupling of ``splits`` steps, undone after AdaIN."""

    def __init__(self, inputs: int, splits: int) -> None:
        super().__init__()
        self.splits, outputs = splits, inputs * splits
        self.inner = nn.ModuleList([convolution(inputs, 2 * inputs)])
        self.inner.append(convolution(2 * inputs, 2 * inputs))
        self.norms = nn.ModuleList(BrainNorm(2 * inputs) for _ in range(2))
        self.outer = convolution(2 * inputs, outputs)
        self.statistics = nn.Sequential(
            nn.Linear(STYLE_SIZE, outputs), nn.ReLU(),
            nn.Linear(outputs, outputs), nn.ReLU(),
            nn.Linear(outputs, 2 * outputs),
        )  # fmt: skip

    def encode(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) to latent and affine tensor, both (B, C * splits, H, W)."""
        features = x
        for inner, norm in zip(self.inner, self.norms, strict=True):
            features = F.relu(norm(inner(features), mask))
        affine = self.outer(features)
        return torch.cat(couple(x, affine.chunk(self.splits, dim=1)), dim=1), affine

    def decode(self, z: Tensor, affine: Tensor, style: Tensor | None, mask: Tensor) -> Tensor:
        """Back to (B, C, H, W); without a style exactly what was encoded."""
        if style is not None:
            mean, deviation = self.statistics(style)[:, :, None, None].chunk(2, dim=1)
            own_mean, own_deviation = channel_statistics(z, mask)
            z = (z - own_mean) / own_deviation * deviation + mean
        return fuse_exact(
            z.chunk(self.splits, dim=1), affine.chunk(self.splits, dim=1), FUSION_WEIGHT
        )


class HierarchyFlowComparator(LearnedComparator):
    """Hierarchy Flow; the encoder stands in for VGG19 in its losses."""

    copies_reference = True

    def __init__(self, settings: ComparatorSettings, encoder: Encoder) -> None:
        super().__init__(settings)
        self._encoder = [encoder]
        channels = settings.channels
        # 3, 12 and 48 channels with 32 in the settings; 3, 30 and 120 as published.
        self.blocks = nn.ModuleList(
            [
                CouplingBlock(INPUT_SLICES, max(2, channels // 8)),
                CouplingBlock(INPUT_SLICES * max(2, channels // 8), 4),
            ]
        )
        self.style = nn.Sequential(
            nn.Conv2d(INPUT_SLICES, channels, 7, padding=3), nn.ReLU(),
            nn.Conv2d(channels, channels, 4, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(2 * channels, STYLE_SIZE, 1), nn.Flatten(),
        )  # fmt: skip

    def flow(self, x: Tensor, mask: Tensor, style: Tensor | None) -> Tensor:
        """Slices (B, 3, H, W) through all blocks and back."""
        affine = []
        for block in self.blocks:
            x, a = cast("CouplingBlock", block).encode(x, mask)
            affine.append(a)
        for block, a in zip(reversed(self.blocks), reversed(affine), strict=True):
            x = cast("CouplingBlock", block).decode(x, a, style, mask)
        return x

    def translate(self, slices: SiteSlices) -> Tensor:
        """With the style of the reference."""
        return self.flow(slices.source, slices.mask, self.style(slices.reference))[:, 1:2]

    def losses(self, batch: SiteBatch) -> Losses:
        """Content and aligned style."""
        image = self.flow(batch.source, batch.mask, self.style(batch.reference))
        encoder = self._encoder[0]
        output = encoder(image, taps=FEATURE_MAPS, modality=batch.modality)
        with torch.no_grad():
            source = encoder(batch.source, taps=FEATURE_MAPS, modality=batch.modality)
            reference = encoder(batch.reference, taps=FEATURE_MAPS, modality=batch.modality)
        terms = {
            "content": (1.0, content_loss(output[-1], source[-1], batch.mask)),
            "style": (
                STYLE_WEIGHT,
                aligned_style_loss(output, batch.mask, reference, batch.reference_mask),
            ),
        }
        return Losses(terms, image[:, 1:2])


def content_loss(output: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of features (B, C, H, W), each channel normalized.

    Channels that are silent in the source are not amplified: half the mean variance of all
    channels is added to that of each.
    """
    floor = channel_statistics(source, mask)[1].square().mean(dim=1, keepdim=True) / 2
    normal = []
    for features in (output, source):
        mean, deviation = channel_statistics(features, mask)
        normal.append((features - mean) / (deviation.square() + floor).sqrt())
    return F.mse_loss(normal[0], normal[1])


def aligned_style_loss(
    output: Sequence[Tensor], mask: Tensor, reference: Sequence[Tensor], reference_mask: Tensor
) -> Tensor:
    """Mean squared difference of channel statistics, summed over feature maps."""
    total = output[0].new_zeros(())
    for features, target in zip(output, reference, strict=True):
        mean, deviation = channel_statistics(features, mask)
        target_mean, target_deviation = channel_statistics(target, reference_mask)
        gap = (mean - target_mean).square().flatten(1)
        count = max(1, int(ALIGNED_FRACTION * gap.shape[1]))
        nearest = gap.detach().topk(count, dim=1, largest=False).indices
        spread = (deviation - target_deviation).square().flatten(1)
        total = total + gap.gather(1, nearest).mean() + spread.gather(1, nearest).mean()
    return total
