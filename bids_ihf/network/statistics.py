"""Channel means and standard deviations inside a mask: the mu and sigma of arXiv 2602.21536."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_VARIANCE = 1e-6
"""Added to variances, and the least sum of weights: keeps results finite for an empty mask."""


def fit_mask(mask: Tensor, features: Tensor) -> Tensor:
    """Average a mask (B, 1, H, W) to the resolution of `features`, as weights of its pixels."""
    if mask.shape[-2:] == features.shape[-2:]:
        return mask
    height, width = features.shape[-2:]
    return F.adaptive_avg_pool2d(mask, (height, width))


def channel_statistics(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of every channel.

    Parameters
    ----------
    x
        Features, (B, C, H, W).
    mask
        Weights from 0 to 1, (B, 1, H', W'); averaged to the resolution of `x`.

    Returns
    -------
    mean, deviation
        (B, C, 1, 1) each; 0 and ``sqrt(MIN_VARIANCE)`` where the mask is empty.

    Examples
    --------
    >>> x = torch.tensor([1.0, 3.0, 100.0, 100.0]).reshape(1, 1, 2, 2)
    >>> mean, deviation = channel_statistics(x, torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]]))
    >>> round(mean.item(), 3), round(deviation.item(), 3)
    (2.0, 1.0)
    """
    weight = fit_mask(mask, x)
    mean = _weighted_mean(x, weight)
    return mean, torch.sqrt(_weighted_mean((x - mean).square(), weight) + MIN_VARIANCE)


def channel_means(x: Tensor, mask: Tensor) -> Tensor:
    """Weighted mean (B, C, 1, 1) of every channel, see `channel_statistics`."""
    return _weighted_mean(x, fit_mask(mask, x))


def _weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    total = weight.sum(dim=(2, 3), keepdim=True).clamp_min(MIN_VARIANCE)
    return (x * weight).sum(dim=(2, 3), keepdim=True) / total
