"""The segmentation network: a small 3D U-Net for brain and tissues in images of any contrast.

U-Net in three dimensions (Cicek et al. 2016, MICCAI), trained on images synthesized from label
maps (SynthSeg; Billot et al. 2023, Medical Image Analysis).  All but a few layers at the end run
at half resolution, after a space-to-depth operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SEGMENTER_CLASSES = ("outside", "grey", "white", "csf")
"""Classes of a voxel; the brain is all but the first, deep grey matter is grey."""

CONTEXT_CHANNELS, FINAL_CHANNELS = 12, 16
"""Channels passed from half to full resolution, and channels of the layers there."""


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1, bias=False),
        nn.InstanceNorm3d(outputs, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
    )


class Segmenter(nn.Module):
    """Tissue scores of an image on a grid of 2 mm.

    Parameters
    ----------
    widths
        Channels from half resolution (4 mm) downwards; each level is half as fine as the last.

    Examples
    --------
    >>> segmenter = Segmenter(widths=(4, 4)).eval()
    >>> segmenter(torch.rand(1, 1, 8, 12, 16)).shape, segmenter.multiple
    (torch.Size([1, 4, 8, 12, 16]), 4)
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 96, 96)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        first = self.widths[0]
        self.down = nn.ModuleList()
        for inputs, outputs in pairwise((8, *self.widths)):
            self.down.append(nn.Sequential(_block(inputs, outputs), _block(outputs, outputs)))
        self.narrow, self.up = nn.ModuleList(), nn.ModuleList()
        for deep, shallow in pairwise(reversed(self.widths)):
            self.narrow.append(nn.Conv3d(deep, shallow, 1))
            self.up.append(_block(2 * shallow, shallow))
        self.rough = nn.Conv3d(first, 8 * len(SEGMENTER_CLASSES), 1)
        self.context = nn.Conv3d(first, CONTEXT_CHANNELS, 1)
        self.finish = nn.Sequential(
            nn.Conv3d(1 + CONTEXT_CHANNELS, FINAL_CHANNELS, 3, padding=1),
            nn.LeakyReLU(0.01, inplace=True),
            nn.Conv3d(FINAL_CHANNELS, FINAL_CHANNELS, 3, padding=1),
            nn.LeakyReLU(0.01, inplace=True),
            nn.Conv3d(FINAL_CHANNELS, len(SEGMENTER_CLASSES), 1),
        )

    @property
    def multiple(self) -> int:
        """The number that each dimension of an image must be a multiple of."""
        return int(2 ** len(self.widths))

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 1, X, Y, Z), 0 to 1, to logits (B, 4, X, Y, Z) in SEGMENTER_CLASSES order."""
        x = _space_to_depth(image)
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool3d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for narrow, up in zip(self.narrow, self.up, strict=True):
            x = F.interpolate(narrow(x), scale_factor=2.0, mode="nearest")
            x = up(torch.cat([x, skips.pop()], dim=1))
        context = F.interpolate(self.context(x), scale_factor=2.0, mode="nearest")
        fine: Tensor = self.finish(torch.cat([image, context], dim=1))
        return _depth_to_space(self.rough(x)) + fine


def _space_to_depth(image: Tensor) -> Tensor:
    """(B, 1, X, Y, Z) to (B, 8, X/2, Y/2, Z/2)."""
    b, _, x, y, z = image.shape
    blocks = image.reshape(b, x // 2, 2, y // 2, 2, z // 2, 2)
    return blocks.permute(0, 2, 4, 6, 1, 3, 5).flatten(1, 3)


def _depth_to_space(scores: Tensor) -> Tensor:
    """(B, 8 C, X, Y, Z) to (B, C, 2 X, 2 Y, 2 Z)."""
    b, channels, x, y, z = scores.shape
    blocks = scores.reshape(b, channels // 8, 2, 2, 2, x, y, z)
    return blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, channels // 8, 2 * x, 2 * y, 2 * z)
