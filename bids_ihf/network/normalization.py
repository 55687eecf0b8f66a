"""Artefact-aware normalization (AAN), Eq. (2) of arXiv 2602.21536."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from bids_ihf.network.statistics import channel_statistics, fit_mask

Form = Literal["relative", "printed"]


class ContentHead(nn.Module):
    """Summarizes the source anatomy: convolution, pooling inside the mask, linear layer."""

    def __init__(self, channels: int, hidden: int, *, instance_norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, hidden, 3, padding=1, padding_mode="replicate")
        self.instance_norm = instance_norm
        self.out = nn.Linear(hidden, hidden)

    def forward(self, z: Tensor, mask: Tensor) -> Tensor:
        """Latent (B, C, H, W) and mask (B, 1, H, W) to (B, hidden)."""
        x = self.conv(z)
        if self.instance_norm:
            mean, deviation = channel_statistics(x, mask)
            x = (x - mean) / deviation
        pooled, _ = channel_statistics(torch.relu(x), mask)
        out: Tensor = self.out(pooled.flatten(1))
        return out


class ArtefactAwareNorm(nn.Module):
    """Replaces the channel statistics of a latent by those predicted for the target scanner.

    Parameters
    ----------
    channels
        Channels of the latent.
    embedding
        Length of a scanner embedding, Eq. (1).
    hidden
        Width of projection and content head.
    form
        "printed" is Eq. (2) as it stands: absolute scale and shift, from the target's embedding
        and a content head with instance normalization.  "relative" predicts the change of the
        source's own statistics, from the embeddings of target *and* source and a content head
        that sees the source's contrast; it starts at the identity and trains better.
    """

    def __init__(self, channels: int, embedding: int, *, hidden: int, form: Form) -> None:
        super().__init__()
        self.form = form
        inputs = embedding if form == "printed" else 2 * embedding
        self.projection = nn.Sequential(
            nn.LayerNorm(inputs),
            nn.Linear(inputs, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
        )
        self.content = ContentHead(channels, hidden, instance_norm=form == "printed")
        self.scale = nn.Linear(2 * hidden, channels)
        self.shift = nn.Linear(2 * hidden, channels)
        if form == "relative":
            for head in (self.scale, self.shift):
                nn.init.normal_(head.weight, std=1e-3)
                nn.init.zeros_(head.bias)

    def forward(self, z: Tensor, mask: Tensor, target: Tensor, source: Tensor) -> Tensor:
        """Latent (B, C, H, W), brain mask (B, 1, H', W'), embeddings (B, E) to the new latent."""
        weight = fit_mask(mask, z)
        mean, deviation = channel_statistics(z, weight)
        style = target if self.form == "printed" else torch.cat([target, source], dim=1)
        condition = torch.cat([self.projection(style), self.content(z, weight)], dim=1)
        scale = self.scale(condition)[..., None, None]
        shift = self.shift(condition)[..., None, None]
        if self.form == "printed":
            out: Tensor = (z - mean) / deviation * scale + shift
            return out
        # sigma * exp(g) and mu + b, written so that g = b = 0 returns z to the bit.
        return z + (z - mean) * torch.expm1(scale) + shift
