"""The network that finds the brain and its tissues in a head of any contrast: a small 3D U-Net.

Ronneberger et al. 2015 in three dimensions (Cicek et al. 2016), for training on images painted
from label maps (Billot et al. 2023, SynthSeg).  Space to depth at the entrance lets all but
a finish of few channels run at half resolution.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

SEGMENTER_CLASSES = ("outside", "grey", "white", "csf")
"""What the network tells apart; the brain is all but the first, deep grey matter is grey."""

CONTEXT, FINISH = 12, 16
"""Channels that tell the layers at full resolution what lies around, and channels of these."""


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1, bias=False),
        nn.InstanceNorm3d(outputs, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
    )


class Segmenter(nn.Module):
    """Images (B, 1, X, Y, Z) of 2 mm, 0 to 1, to scores (B, 4, X, Y, Z) in the order of CLASSES.

    ``widths`` are the channels from 4 mm downwards, each level half as fine as the one before;
    sides must be multiples of :attr:`multiple`.
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
        self.context = nn.Conv3d(first, CONTEXT, 1)
        self.finish = nn.Sequential(
            nn.Conv3d(1 + CONTEXT, FINISH, 3, padding=1),
            nn.LeakyReLU(0.01, inplace=True),
            nn.Conv3d(FINISH, FINISH, 3, padding=1),
            nn.LeakyReLU(0.01, inplace=True),
            nn.Conv3d(FINISH, len(SEGMENTER_CLASSES), 1),
        )

    @property
    def multiple(self) -> int:
        """What the sides of an image must be multiples of."""
        return int(2 ** len(self.widths))

    def forward(self, image: Tensor) -> Tensor:
        """Scores of every voxel, not normalized."""
        x = _to_depth(image)
        kept = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool3d(x, 2) if level else x)
            kept.append(x)
        kept.pop()
        for narrow, up in zip(self.narrow, self.up, strict=True):
            x = F.interpolate(narrow(x), scale_factor=2.0, mode="nearest")
            x = up(torch.cat([x, kept.pop()], dim=1))
        around = F.interpolate(self.context(x), scale_factor=2.0, mode="nearest")
        finished: Tensor = self.finish(torch.cat([image, around], dim=1))
        return _to_space(self.rough(x)) + finished


def _to_depth(image: Tensor) -> Tensor:
    """(B, 1, X, Y, Z) to (B, 8, X/2, Y/2, Z/2)."""
    b, _, x, y, z = image.shape
    blocks = image.reshape(b, x // 2, 2, y // 2, 2, z // 2, 2)
    return blocks.permute(0, 2, 4, 6, 1, 3, 5).flatten(1, 3)


def _to_space(scores: Tensor) -> Tensor:
    """(B, 8 C, X, Y, Z) to (B, C, 2 X, 2 Y, 2 Z)."""
    b, channels, x, y, z = scores.shape
    blocks = scores.reshape(b, channels // 8, 2, 2, 2, x, y, z)
    return blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, channels // 8, 2 * x, 2 * y, 2 * z)
