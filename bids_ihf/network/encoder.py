"""The fixed encoder: VGG19 up to relu4_1, whose channel statistics describe a scanner (Eq. 1).

A linear read-out of all four maps names the tissue of each 2 x 2 pixels, from which the landmarks
of the intensity curve come.

The layers are numbered as in torchvision's ``vgg19().features``, so that ImageNet weights load at
the full width of 64.  The shipped encoder has the same layers at a smaller width and was trained
on simulated MRI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bids_ihf.network.statistics import channel_statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VGG19_LAYERS = (1, 1, "pool", 2, 2, "pool", 4, 4, 4, 4, "pool", 8)
"""VGG19 up to conv4_1: channels in units of the width, each a 3 x 3 convolution with ReLU."""

TISSUE_CLASSES = ("grey", "white", "csf", "other")
"""What the read-out tells apart; deep grey matter is grey."""

TAP_POSITIONS = (1, 6, 11, 20)
"""Positions of relu1_1, relu2_1, relu3_1 and relu4_1 in ``features``."""


def _layers(width: int) -> Iterator[nn.Module]:
    channels = 3
    for layer in VGG19_LAYERS:
        if isinstance(layer, str):
            yield nn.MaxPool2d(2, ceil_mode=True)
        else:
            yield nn.Conv2d(channels, layer * width, 3, padding=1)
            yield nn.ReLU(inplace=False)
            channels = layer * width


class Encoder(nn.Module):
    """VGG19-shaped features of 2.5D slices with intensities in [-1, 1].

    ``shift`` and ``scale`` (3 values each) bring the input to what the weights were trained on.
    ``has_tissue_head`` says whether the tissue read-out was trained.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, width: int = 64, *, has_tissue_head: bool = True) -> None:
        super().__init__()
        self.width = width
        self.has_tissue_head = has_tissue_head
        self.features = nn.Sequential(*_layers(width))
        self.tissue = nn.Conv2d(sum(self.channels), len(TISSUE_CLASSES), 1)
        self.register_buffer("shift", torch.zeros(3))
        self.register_buffer("scale", torch.ones(3))

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of the four taps."""
        return self.width, 2 * self.width, 4 * self.width, 8 * self.width

    @property
    def size(self) -> int:
        """Length of an embedding: mean and deviation of every channel of the four taps."""
        return 2 * sum(self.channels)

    def forward(self, x: Tensor, taps: int = 4) -> list[Tensor]:
        """(B, 3, H, W) to the first ``taps`` feature maps, from fine to coarse."""
        x = (x - self.shift[:, None, None]) * self.scale[:, None, None]
        maps = []
        for position in range(TAP_POSITIONS[taps - 1] + 1):
            x = self.features[position](x)
            if position in TAP_POSITIONS:
                maps.append(x)
        return maps

    def embed(self, x: Tensor, mask: Tensor) -> Tensor:
        """Eq. (1): means, then deviations, of all taps inside ``mask``.

        Slices (B, 3, H, W) and mask (B, 1, H, W) to (B, size).
        """
        return join_statistics(self(x), mask)

    def tissue_logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Tissue scores (B, 4, H/2, W/2) from the four feature maps, in TISSUE_CLASSES order."""
        height, width = maps[1].shape[-2:]
        columns = [F.adaptive_avg_pool2d(maps[0], (height, width)), maps[1]]
        columns += [
            F.interpolate(each, size=(height, width), mode="bilinear", align_corners=False)
            for each in maps[2:]
        ]
        logits: Tensor = self.tissue(torch.cat(columns, dim=1))
        return logits


def join_statistics(maps: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Eq. (1) from feature maps (B, C_i, H_i, W_i): all means, then all deviations, (B, E)."""
    pairs = [channel_statistics(features, mask) for features in maps]
    means, deviations = zip(*pairs, strict=True)
    return torch.cat([*means, *deviations], dim=1).flatten(1)


def imagenet_encoder() -> Encoder:
    """The encoder with ImageNet weights of torchvision's VGG19, where they are on this machine."""
    from torchvision.models import VGG19_Weights, vgg19

    encoder = Encoder(width=64, has_tissue_head=False)
    state = vgg19(weights=VGG19_Weights.IMAGENET1K_V1).features.state_dict()
    wanted = encoder.features.state_dict().keys()
    encoder.features.load_state_dict({key: state[key] for key in wanted})
    # ImageNet statistics are for [0, 1]; ours are for [-1, 1].
    mean = torch.tensor([0.485, 0.456, 0.406])
    deviation = torch.tensor([0.229, 0.224, 0.225])
    encoder.shift.copy_(2 * mean - 1)
    encoder.scale.copy_(0.5 / deviation)
    return encoder
