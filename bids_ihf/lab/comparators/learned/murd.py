"""MURD: content and style of N sites in one model (Liu & Yap 2024, Commun Eng 3:6).

A content encoder, a style encoder and a style generator with a head for each site, a generator
and a critic, trained on unpaired scans.  Losses and their weights are those of the published
code; its gradient penalty is left out, and adversarial losses are least squares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bids_ihf.lab.comparators.learned.interface import LearnedComparator, Losses
from bids_ihf.lab.comparators.learned.layers import (
    PATCH_PIXELS,
    RECTIFIER_SLOPE,
    BrainNorm,
    ResidualBlock,
    SiteCritic,
    convolution,
    judgement_loss,
    planes,
    realness_loss,
    squeeze,
    unsqueeze,
)
from bids_ihf.network.flow import INPUT_SLICES

if TYPE_CHECKING:
    from bids_ihf.lab.comparators.learned.interface import (
        ComparatorSettings,
        SiteBatch,
        SiteSlices,
    )

STYLE_SIZE, LATENT_SIZE = 64, 16
"""Length of a style code, and of the noise that a style is generated from."""

CONTENT_NOISE_SD = 0.2
"""Standard deviation of the noise on the content code in training, less than usual for so small a
budget."""

CONSISTENCY_WEIGHT, ADVERSARIAL_WEIGHT = 10.0, 1.0
"""Weights, without unit, of what must come back (the slice by its own style and after a cycle, the
content, the style), and of the adversarial loss; as in the published code."""

EDGE_WEIGHT, ALIGNMENT_WEIGHT, DIVERSITY_WEIGHT = 1.0, 0.01, 1.0
"""Weights, without unit, of the edges after a cycle, of the mean square of the content, which
keeps sites alike, and of the difference between translations by two styles, which is to be large;
as in the published code."""


class ContentBlock(nn.Module):
    """Convolution and normalization, twice, beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolution(channels, channels) for _ in range(2))
        self.norms = nn.ModuleList(BrainNorm(channels) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features (B, C, H, W) and mask to features."""
        inner = F.leaky_relu(self.norms[0](self.convolutions[0](x), mask), RECTIFIER_SLOPE)
        return x + self.norms[1](self.convolutions[1](inner), mask)


class ContentEncoder(nn.Module):
    """Slices (B, 3, H, W) to a code of what is there, (B, C, H/2, W/2)."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.first = convolution(PATCH_PIXELS * INPUT_SLICES, channels)
        self.norm = BrainNorm(channels)
        self.blocks = nn.ModuleList(ContentBlock(channels) for _ in range(blocks))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode; with noise in training."""
        code = F.leaky_relu(self.norm(self.first(squeeze(x)), mask), RECTIFIER_SLOPE)
        for block in self.blocks:
            code = block(code, mask)
        if self.training:
            code = code + CONTENT_NOISE_SD * torch.randn_like(code)
        return code


class SiteHeads(nn.Module):
    """A linear layer for each site: features (B, C) and sites (B,) to styles (B, STYLE_SIZE)."""

    def __init__(self, channels: int, sites: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, sites * STYLE_SIZE)

    def forward(self, features: Tensor, site: Tensor) -> Tensor:
        """The styles by the heads of the sites."""
        styles = self.linear(features).unflatten(1, (-1, STYLE_SIZE))
        return styles[torch.arange(len(site), device=site.device), site]


class StyleEncoder(nn.Module):
    """Slices (B, 1, H, W) and their sites (B,) to styles (B, STYLE_SIZE)."""

    def __init__(self, channels: int, sites: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(PATCH_PIXELS, channels), nn.LeakyReLU(RECTIFIER_SLOPE),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.LeakyReLU(RECTIFIER_SLOPE),
            nn.Conv2d(2 * channels, 2 * channels, 4, stride=2, padding=1),
            nn.LeakyReLU(RECTIFIER_SLOPE), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.heads = SiteHeads(2 * channels, sites)

    def forward(self, x: Tensor, site: Tensor) -> Tensor:
        """Encode."""
        style: Tensor = self.heads(self.layers(squeeze(x)), site)
        return style


class StyleGenerator(nn.Module):
    """Noise (B, LATENT_SIZE) and sites (B,) to styles (B, STYLE_SIZE)."""

    def __init__(self, channels: int, sites: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(LATENT_SIZE, 2 * channels), nn.LeakyReLU(RECTIFIER_SLOPE),
            nn.Linear(2 * channels, 2 * channels), nn.LeakyReLU(RECTIFIER_SLOPE),
        )  # fmt: skip
        self.heads = SiteHeads(2 * channels, sites)

    def forward(self, site: Tensor) -> Tensor:
        """A style at random for each site."""
        style: Tensor = self.heads(
            self.layers(torch.randn(len(site), LATENT_SIZE, device=site.device)), site
        )
        return style


class Generator(nn.Module):
    """Content (B, C, H/2, W/2) and style (B, STYLE_SIZE) to slices (B, 1, H, W).

    The style is concatenated to the content as constant planes, before every block.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(channels, extra=STYLE_SIZE) for _ in range(blocks)
        )
        self.last = nn.Sequential(
            nn.LeakyReLU(RECTIFIER_SLOPE), convolution(channels, PATCH_PIXELS)
        )

    def forward(self, content: Tensor, style: Tensor, like: Tensor) -> Tensor:
        """Generate slices of the size of ``like``."""
        spread = planes(style, content)
        z = content
        for block in self.blocks:
            z = block(z, spread)
        return unsqueeze(self.last(z), like)


class MURD(LearnedComparator):
    """Multi-site unsupervised representation disentangler."""

    def __init__(self, settings: ComparatorSettings) -> None:
        super().__init__(settings)
        channels, sites = settings.channels, len(settings.sites)
        self.content = ContentEncoder(channels, settings.blocks)
        self.style = StyleEncoder(channels, sites)
        self.style_generator = StyleGenerator(channels, sites)
        self.generator = Generator(channels, settings.blocks)
        self.critic: SiteCritic = SiteCritic(1, channels, sites)

    def translate(self, slices: SiteSlices) -> Tensor:
        """Content of the source with the style of the reference, by the target site's head."""
        style = self.style(slices.reference[:, 1:2], slices.target_site)
        image: Tensor = self.generator(
            self.content(slices.source, slices.mask), style, slices.source
        )
        return image

    def losses(self, batch: SiteBatch) -> Losses:
        """Reconstruction, cycle, content and style consistency, edges, alignment, diversity."""
        real, site = batch.centre, batch.target_site
        content = self.content(batch.source, batch.mask)
        own_style = self.style(real, batch.source_site)
        style = self.style_generator(site)
        translated = self.generator(content, style, real)
        # The neighbours of a slice are not translated: the slice stands in for them.
        content_again = self.content(translated.expand_as(batch.source), batch.mask)
        rebuilt = self.generator(content, own_style, real)
        cycle = self.generator(content_again, own_style, real)
        with torch.no_grad():
            second = self.generator(content, self.style_generator(site), real)
        terms = {
            "reconstruction": (CONSISTENCY_WEIGHT, F.l1_loss(rebuilt, real)),
            "cycle": (CONSISTENCY_WEIGHT, F.l1_loss(cycle, real)),
            "content": (CONSISTENCY_WEIGHT, F.l1_loss(content_again, content)),
            "style": (CONSISTENCY_WEIGHT, F.l1_loss(self.style(translated, site), style)),
            "edges": (EDGE_WEIGHT, edge_loss(cycle, real)),
            "alignment": (ALIGNMENT_WEIGHT, content.square().mean()),
            "diversity": (-DIVERSITY_WEIGHT, F.l1_loss(translated, second)),
            "adversarial": (ADVERSARIAL_WEIGHT, realness_loss(self.critic(translated, site))),
        }
        return Losses(terms, translated)

    def critic_loss(self, batch: SiteBatch, translated: Tensor) -> Tensor:
        """Scans by the target's scanner are real."""
        real = self.critic(batch.reference[:, 1:2], batch.target_site)
        return judgement_loss(real, self.critic(translated, batch.target_site))


def edge_loss(image: Tensor, truth: Tensor) -> Tensor:
    """L1 between the differences of neighbouring pixels, along both axes."""
    return sum(
        (F.l1_loss(image.diff(dim=axis), truth.diff(dim=axis)) for axis in (2, 3)),
        image.new_zeros(()),
    )
