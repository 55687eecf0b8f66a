"""The fixed encoder: VGG19 up to relu4_1, whose channel statistics describe a scanner (Eq. 1).

A linear read-out of its four feature maps classifies the tissue of each patch of 2 x 2 pixels,
for the landmarks of the intensity curve.  The modality of the image, where it is known, is told to
every convolution as an offset of its bias.

Layers are numbered as in torchvision's ``vgg19().features``, so that ImageNet weights load at the
full width of 64.  The shipped encoder is narrower and was trained on simulated MRI.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bids_ihf.network.statistics import channel_statistics

VGG19_LAYERS = (1, 1, "pool", 2, 2, "pool", 4, 4, 4, 4, "pool", 8)
"""VGG19 up to conv4_1: channels in units of the width, each a 3 x 3 convolution with ReLU."""

TAP_POSITIONS = (1, 6, 11, 20)
"""Positions of relu1_1, relu2_1, relu3_1 and relu4_1 in ``features``."""

ENCODER_MODALITIES = ("T1w", "T2w", "FLAIR")
"""Modalities that the encoder can be told, in the order of its offsets."""

TISSUE_CLASSES = ("grey", "white", "csf", "other")
"""Classes of the tissue read-out; deep grey matter is grey."""


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

    Parameters
    ----------
    width
        Channels of the first layer; 64 in VGG19.
    has_tissue_head
        Whether the tissue read-out is trained.

    Attributes
    ----------
    shift, scale
        Normalization of the three input channels to what the weights were trained on, (3,).
    modality_bias
        What a modality adds to the biases of all convolutions, (modalities, channels of all).

    Examples
    --------
    >>> encoder = Encoder(width=2)
    >>> slices, mask = torch.zeros(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    >>> [tuple(features.shape) for features in encoder(slices)]
    [(1, 2, 16, 16), (1, 4, 8, 8), (1, 8, 4, 4), (1, 16, 2, 2)]
    >>> encoder.embed(slices, mask).shape, encoder.size
    (torch.Size([1, 60]), 60)
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, width: int = 64, *, has_tissue_head: bool = True) -> None:
        super().__init__()
        self.width = width
        self.has_tissue_head = has_tissue_head
        self.features = nn.Sequential(*_layers(width))
        self.tissue = nn.Conv2d(sum(self.channels), len(TISSUE_CLASSES), 1)
        convolutions = [layer for layer in self.features if isinstance(layer, nn.Conv2d)]
        self.modality_bias = nn.Parameter(
            torch.zeros(len(ENCODER_MODALITIES), sum(layer.out_channels for layer in convolutions))
        )
        self.register_buffer("shift", torch.zeros(3))
        self.register_buffer("scale", torch.ones(3))

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of the four feature maps."""
        return self.width, 2 * self.width, 4 * self.width, 8 * self.width

    @property
    def size(self) -> int:
        """Length of an embedding: mean and deviation of every channel of the four maps."""
        return 2 * sum(self.channels)

    def for_modality(self, modality: str) -> Encoder:
        """A copy that knows the modality of its images; unchanged for one it was not trained on.

        >>> encoder = Encoder(width=2)
        >>> encoder.for_modality("any") is encoder
        True
        """
        if modality not in ENCODER_MODALITIES:
            return self
        told = copy.deepcopy(self)
        offsets = iter(self._offsets(self.modality_bias[[ENCODER_MODALITIES.index(modality)]]))
        with torch.no_grad():
            for layer in told.features:
                if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                    layer.bias += next(offsets)[0]
            told.modality_bias.zero_()
        return told

    def _offsets(self, biases: Tensor) -> tuple[Tensor, ...]:
        """Biases (B, channels of all) by convolution, (B, C) each."""
        layers = [layer for layer in self.features if isinstance(layer, nn.Conv2d)]
        return torch.split(biases, [layer.out_channels for layer in layers], dim=1)

    def forward(self, x: Tensor, taps: int = 4, modality: Tensor | None = None) -> list[Tensor]:
        """(B, 3, H, W) to the first `taps` feature maps, from fine to coarse.

        `modality` are weights (B, modalities) of ENCODER_MODALITIES, zero where it is unknown.
        """
        offsets = None if modality is None else iter(self._offsets(modality @ self.modality_bias))
        x = (x - self.shift[:, None, None]) * self.scale[:, None, None]
        maps = []
        for position in range(TAP_POSITIONS[taps - 1] + 1):
            x = self.features[position](x)
            if offsets is not None and isinstance(self.features[position], nn.Conv2d):
                x = x + next(offsets)[:, :, None, None]
            if position in TAP_POSITIONS:
                maps.append(x)
        return maps

    def embed(self, x: Tensor, mask: Tensor) -> Tensor:
        """Eq. (1): slices (B, 3, H, W) and mask (B, 1, H, W) to embeddings (B, size)."""
        return join_statistics(self(x), mask)

    def tissue_logits(self, maps: Sequence[Tensor]) -> Tensor:
        """Tissue scores (B, 4, H/2, W/2) from the four feature maps, in TISSUE_CLASSES order."""
        height, width = maps[1].shape[-2:]
        weights = torch.split(self.tissue.weight, list(self.channels), dim=1)
        logits = F.conv2d(F.adaptive_avg_pool2d(maps[0], (height, width)), weights[0])
        logits = logits + F.conv2d(maps[1], weights[1], self.tissue.bias)
        for features, weight in zip(maps[2:], weights[2:], strict=True):
            # Of four scores and not of all channels: both are linear.
            coarse = F.conv2d(features, weight)
            logits = logits + F.interpolate(
                coarse, size=(height, width), mode="bilinear", align_corners=False
            )
        return logits


def modality_weights(modality: str, count: int) -> Tensor:
    """Weights (count, modalities) of ENCODER_MODALITIES: one for the modality, if it is one of
    them.

    >>> modality_weights("T2w", 1)
    tensor([[0., 1., 0.]])
    """
    row = [float(name == modality) for name in ENCODER_MODALITIES]
    return torch.tensor([row]).repeat(count, 1)


def join_statistics(maps: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Eq. (1) from feature maps (B, C_i, H_i, W_i): all means, then all deviations, (B, E)."""
    pairs = [channel_statistics(features, mask) for features in maps]
    means, deviations = zip(*pairs, strict=True)
    return torch.cat([*means, *deviations], dim=1).flatten(1)
