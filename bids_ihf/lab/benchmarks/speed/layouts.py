"""Other network layouts, reimplemented from their descriptions to compare their cost.

The weights are random.  Both layouts work at full resolution in all blocks (no squeeze), with
3 x 3 convolutions and instance norm over the whole frame, on slices padded by 10 pixels.  The
encoders of the target are left out, as ours is: a target is encoded once and serves all slices.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PADDING_PIXELS = 10
INPUT_CHANNELS = 3


def _convolutions(sizes: Sequence[int], *, slope: float, affine: bool) -> nn.Sequential:
    """3 x 3 convolutions through channels ``sizes``, all but the last normalized and activated."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.InstanceNorm2d(outputs, affine=affine),
            nn.LeakyReLU(slope, inplace=True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-2], sizes[-1], 3, padding=1))


class Modulation(nn.Module):
    """Normalize a latent and modulate it by scale and shift.

    They come from the target's code and, unless ``hidden`` is 0, from the means of the latent.
    """

    def __init__(self, channels: int, style: int, hidden: int) -> None:
        super().__init__()
        self.latent = nn.Linear(channels, hidden) if hidden else None
        width = hidden or 3 * channels
        self.style = nn.Sequential(nn.Linear(style, width), nn.ReLU(inplace=True))
        self.out = nn.Linear(2 * hidden or width, 2 * channels)

    def forward(self, z: Tensor, style: Tensor) -> Tensor:
        """Latent (B, C, H, W) and code (B, S) to the new latent."""
        condition = self.style(style)
        if self.latent is not None:
            condition = torch.cat([F.relu(self.latent(z.mean(dim=(2, 3)))), condition], dim=1)
        scale, shift = self.out(condition)[..., None, None].chunk(2, dim=1)
        variance, mean = torch.var_mean(z, dim=(2, 3), keepdim=True)
        return (z - mean) / torch.sqrt(variance + 1e-5) * (1 + scale) + shift


class Layout(nn.Module):
    """Blocks of subtractive coupling in, modulation and additive coupling out.

    ``channels`` are those after each block; ``hidden(inputs, outputs)`` those of a block's own
    convolutions; ``modulation`` the hidden width of :class:`Modulation` for the latent, by
    its channels.
    """

    def __init__(
        self,
        channels: Sequence[int],
        hidden: Callable[[int, int], int],
        *,
        style: int,
        slope: float,
        affine: bool,
        modulation: Callable[[int], int],
    ) -> None:
        super().__init__()
        self.style = style
        self.nets, self.modulations = nn.ModuleList(), nn.ModuleList()
        for inputs, outputs in pairwise((INPUT_CHANNELS, *channels)):
            width = hidden(inputs, outputs)
            sizes = (inputs, width, width, outputs)
            self.nets.append(_convolutions(sizes, slope=slope, affine=affine))
            self.modulations.append(Modulation(outputs, style, modulation(outputs)))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Slices (B, 3, H, W) and the target's code (B, S) to slices."""
        z = F.pad(
            x, (PADDING_PIXELS, PADDING_PIXELS, PADDING_PIXELS, PADDING_PIXELS), mode="reflect"
        )
        subtracted = []
        for net in self.nets:
            splits = net(z).split(z.shape[1], dim=1)
            subtracted.append(splits)
            states = []
            for split in splits:
                z = z - split
                states.append(z)
            z = torch.cat(states, dim=1)
        for modulate, splits in zip(reversed(self.modulations), reversed(subtracted), strict=True):
            latents = modulate(z, style).split(splits[0].shape[1], dim=1)
            z = latents[-1] + splits[-1]
            for latent, split in zip(reversed(latents[:-1]), reversed(splits[:-1]), strict=True):
                z = 0.5 * (latent + split) + 0.5 * z
        return z[..., PADDING_PIXELS:-PADDING_PIXELS, PADDING_PIXELS:-PADDING_PIXELS]


def authors_layout() -> Layout:
    """The layout of the authors' release of IHF-Harmony: channels 30, 120, 480."""
    return Layout(
        (30, 120, 480),
        lambda inputs, outputs: max(2 * inputs, min(outputs, 256)),
        style=64,
        slope=0.2,
        affine=True,
        modulation=lambda channels: max(64, min(channels, 256)),
    ).eval()


def hierarchyflow_layout() -> Layout:
    """The layout of Hierarchy Flow (Fan et al. 2023, arXiv 2308.06909): channels 30, 120."""
    return Layout(
        (30, 120),
        lambda inputs, _: 2 * inputs,
        style=8,
        slope=0.0,
        affine=False,
        modulation=lambda _: 0,
    ).eval()
