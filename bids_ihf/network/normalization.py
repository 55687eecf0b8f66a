"""Artefact-aware normalization (AAN), Eq. (2) of arXiv 2602.21536."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from bids_ihf.network.context import CONTEXT_SIZE, IN_PLANE_TERMS, Window, in_plane_position
from bids_ihf.network.statistics import channel_means, channel_statistics, fit_mask

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
        out: Tensor = self.out(channel_means(torch.relu(x), mask).flatten(1))
        return out


class ContextHead(nn.Sequential):
    """What modality and axial position of a slice add to its condition; nothing at first."""

    def __init__(self, hidden: int) -> None:
        last = nn.Linear(hidden, hidden)
        super().__init__(nn.Linear(CONTEXT_SIZE, hidden), nn.ReLU(inplace=True), last)
        _start_at_zero(last)


class LocalHead(nn.Module):
    """Scale and shift of each pixel of a latent, from its neighbourhood, its in-plane position and
    the condition of the slice; zero at first.

    The flow squeezes 2 x 2 pixels a block, so that the neighbourhoods of the blocks are some
    millimetres and a centimetre wide.
    """

    def __init__(self, channels: int, hidden: int, *, width: int) -> None:
        super().__init__()
        self.neighbourhood = nn.Conv2d(
            channels, width, 3, padding=1, padding_mode="replicate", bias=False
        )
        self.position = nn.Conv2d(IN_PLANE_TERMS, width, 1, bias=False)
        self.condition = nn.Linear(2 * hidden, width)
        self.out = nn.Conv2d(width, 2 * channels, 3, padding=1, padding_mode="replicate")
        _start_at_zero(self.out)

    def forward(
        self, z: Tensor, condition: Tensor, size: tuple[int, int], window: Window | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latent (B, C, H, W) of an image of ``size``, or of a ``window`` of that size, and
        condition (B, 2 hidden) to scale and shift, both (B, C, H, W)."""
        x = self.neighbourhood(z) + self.position(in_plane_position(z, size, window))
        x = torch.relu(x + self.condition(condition)[..., None, None])
        scale, shift = self.out(x).chunk(2, dim=1)
        return scale, shift


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
    local
        Width of the `LocalHead`; without it, all pixels of a channel share scale and shift, as in
        the paper.
    told_context
        Whether the modality and position of a slice are told.
    """

    def __init__(
        self,
        channels: int,
        embedding: int,
        *,
        hidden: int,
        form: Form,
        local: int = 0,
        told_context: bool = False,
    ) -> None:
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
        self.context = ContextHead(hidden) if told_context else None
        self.local = LocalHead(channels, hidden, width=local) if local else None

    def forward(
        self,
        z: Tensor,
        mask: Tensor,
        target: Tensor,
        source: Tensor,
        context: Tensor | None = None,
        window: Window | None = None,
    ) -> Tensor:
        """Latent (B, C, H, W) to the new latent.

        `mask` is the brain mask (B, 1, H', W') of the image that the latent was squeezed from,
        `target` and `source` are embeddings (B, E), `context` is that of the slices, see
        `slice_context`; `window` is set where they are parts of larger slices.
        """
        weight = fit_mask(mask, z)
        mean, deviation = channel_statistics(z, weight)
        style = target if self.form == "printed" else torch.cat([target, source], dim=1)
        scanner = self.projection(style)
        if self.context is not None and context is not None:
            scanner = scanner + self.context(context)
        condition = torch.cat([scanner, self.content(z, weight)], dim=1)
        scale = self.scale(condition)[..., None, None]
        shift = self.shift(condition)[..., None, None]
        if self.local is not None:
            local_scale, local_shift = self.local(z, condition, tuple(mask.shape[-2:]), window)
            scale, shift = scale + local_scale, shift + local_shift
        if self.form == "printed":
            out: Tensor = (z - mean) / deviation * scale + shift
            return out
        # sigma * exp(g) and mu + b, written so that g = b = 0 returns z to the bit.
        return z + (z - mean) * torch.expm1(scale) + shift


def _start_at_zero(layer: nn.Linear | nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
