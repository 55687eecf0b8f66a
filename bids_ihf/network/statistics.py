"""Channel means and standard deviations inside a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


def fit_mask(mask: Tensor, like: Tensor) -> Tensor:
    """Average a (B, 1, H, W) mask down to the resolution of ``like``; the result weighs its
    pixels."""
    height, width = like.shape[-2:]
    if mask.shape[-2:] == (height, width):
        return mask
    return F.adaptive_avg_pool2d(mask, (height, width))


def channel_statistics(x: Tensor, mask: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of every channel of ``x`` (B, C, H, W).

    ``mask`` (B, 1, H', W') holds weights from 0 to 1.  Both results are (B, C, 1, 1).  Where a
    mask is empty the mean is 0 and the deviation ``sqrt(eps)``.
    """
    weight = fit_mask(mask, x)
    total = weight.sum(dim=(2, 3), keepdim=True).clamp_min(eps)
    mean = (x * weight).sum(dim=(2, 3), keepdim=True) / total
    variance = ((x - mean).square() * weight).sum(dim=(2, 3), keepdim=True) / total
    return mean, torch.sqrt(variance + eps)
