"""Space to channels and back, exactly, for images of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


def squeeze(x: Tensor, factor: int = 2) -> Tensor:
    """Move each ``factor`` x ``factor`` patch into channels: (B, C, H, W) to (B, C f^2, H/f,
    W/f)."""
    return F.pixel_unshuffle(x, factor)


def unsqueeze(x: Tensor, factor: int = 2) -> Tensor:
    """Undo :func:`squeeze`."""
    return F.pixel_shuffle(x, factor)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples; crop to undo."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
