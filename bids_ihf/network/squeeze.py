"""Squeeze operation (arXiv 2602.21536, section 2.2) and padding for images of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


def squeeze(x: Tensor) -> Tensor:
    """Move each patch of 2 x 2 pixels into channels: (B, C, H, W) to (B, 4 C, H/2, W/2).

    Examples
    --------
    >>> import torch
    >>> squeeze(torch.arange(4.0).reshape(1, 1, 2, 2)).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    return F.pixel_unshuffle(x, 2)


def unsqueeze(x: Tensor) -> Tensor:
    """Invert `squeeze`: (B, 4 C, H, W) to (B, C, 2 H, 2 W)."""
    return F.pixel_shuffle(x, 2)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples; crop to undo."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
