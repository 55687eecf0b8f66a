"""Layers that several comparators share.

All work at half resolution: 2 x 2 pixels of a slice are moved into channels and back, in place of
the strided convolutions of the papers, so that no detail is lost in so small networks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bids_ihf.network.flow import INPUT_SLICES, pad_to_multiple
from bids_ihf.network.statistics import channel_statistics

RECTIFIER_SLOPE = 0.2
"""Slope of leaky rectifiers below zero, as in the papers."""

PATCH_PIXELS = 4
"""Pixels of a patch that is moved into channels."""


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")


def squeeze(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 4 C, H/2, W/2), padded to even sides."""
    return F.pixel_unshuffle(pad_to_multiple(x, 2), 2)


def unsqueeze(x: Tensor, like: Tensor) -> Tensor:
    """(B, 4 C, H/2, W/2) to (B, C, H, W) of the size of another tensor."""
    return F.pixel_shuffle(x, 2)[..., : like.shape[-2], : like.shape[-1]]


def planes(vectors: Tensor, like: Tensor) -> Tensor:
    """Vectors (B, N) as constant planes (B, N, H, W) of the size of another tensor."""
    return vectors[:, :, None, None].expand(-1, -1, *like.shape[-2:])


class BrainNorm(nn.Module):
    """Instance normalization by the statistics of the brain, whatever is around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features (B, C, H, W) and mask (B, 1, H', W') to features."""
        mean, deviation = channel_statistics(x, mask)
        return (x - mean) / deviation * self.scale + self.shift


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, extra: int = 0) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            convolution(channels + extra, channels), nn.LeakyReLU(RECTIFIER_SLOPE),
            convolution(channels, channels),
        )  # fmt: skip

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        """(B, C, H, W), and ``extra`` channels for the first convolution, to (B, C, H, W)."""
        inputs = x if extra is None else torch.cat([x, extra], dim=1)
        return x + self.branch(inputs)


class Translator(nn.Module):
    """Translates a slice, with its neighbours, to a site that planes of ones tell.

    It predicts the change of the slice and starts at none.  There is no instance normalization,
    which would remove what constant planes add.
    """

    def __init__(self, sites: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.sites = sites
        self.first = convolution(PATCH_PIXELS * INPUT_SLICES + sites, channels)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))
        self.last = convolution(channels, PATCH_PIXELS)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, site: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) and sites (B,) to (B, 1, H, W)."""
        z = squeeze(x)
        if site is not None:
            z = torch.cat([z, planes(F.one_hot(site, self.sites).float(), z)], dim=1)
        z = F.leaky_relu(self.first(z), RECTIFIER_SLOPE)
        for block in self.blocks:
            z = block(z)
        return x[:, 1:2] + unsqueeze(self.last(z), x)


class SiteCritic(nn.Module):
    """Judges patches of images (PatchGAN; Isola et al. 2017, CVPR), with a score for each site."""

    def __init__(self, inputs: int, channels: int, sites: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(RECTIFIER_SLOPE),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            nn.InstanceNorm2d(2 * channels, affine=True),
            nn.LeakyReLU(RECTIFIER_SLOPE),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1),
            nn.InstanceNorm2d(2 * channels, affine=True),
            nn.LeakyReLU(RECTIFIER_SLOPE),
            nn.Conv2d(2 * channels, sites, 1),
        )

    def forward(self, x: Tensor, site: Tensor) -> Tensor:
        """Images (B, C, H, W) and sites (B,) to scores (B, H/4, W/4) for their sites."""
        scores: Tensor = self.layers(x)
        return scores[torch.arange(len(site), device=site.device), site]


def realness_loss(scores: Tensor) -> Tensor:
    """Least-squares loss of images that should look real (Mao et al. 2017, ICCV)."""
    return (scores - 1).square().mean()


def judgement_loss(real: Tensor, translated: Tensor) -> Tensor:
    """Least-squares loss of a critic's scores of real and of translated images."""
    return 0.5 * (realness_loss(real) + translated.square().mean())
