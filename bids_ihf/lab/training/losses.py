"""The two losses of the paper (Eqs. 3 and 4 of arXiv 2602.21536), and a supervised one for
simulated pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from bids_ihf.network.statistics import channel_statistics, fit_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

PATCH_SIZE_PIXELS = 8
"""Side of the patches whose pixels are correlated, pixels of the relu3_1 map."""

ALIGNED_CHANNEL_FRACTION = 0.9
"""Fraction k of the channels that the artefact loss aligns."""

HUBER_DELTA = 0.1
"""Error, in network units, at which the supervised loss changes from quadratic to linear."""


def correlation_maps(features: Tensor) -> Tensor:
    """``f^T f`` of every PATCH x PATCH patch of (B, C, H, W): (B * patches, PATCH^2, PATCH^2).

    Features are scaled to unit length over channels, so that the map holds similarities and not
    contrast, which harmonization changes.

    >>> correlation_maps(torch.ones(2, 3, 16, 24)).shape
    torch.Size([12, 64, 64])
    """
    height, width = (n - n % PATCH_SIZE_PIXELS for n in features.shape[-2:])
    unit = F.normalize(features[..., :height, :width], dim=1)
    channels = unit.shape[1]
    patches = F.unfold(unit, PATCH_SIZE_PIXELS, stride=PATCH_SIZE_PIXELS)
    patches = patches.transpose(1, 2).reshape(-1, channels, PATCH_SIZE_PIXELS * PATCH_SIZE_PIXELS)
    return patches.transpose(1, 2) @ patches


def anatomy_loss(source: Tensor, output: Tensor) -> Tensor:
    """Eq. (3): L1 between the self-correlation maps of relu3_1 features of input and output."""
    return F.l1_loss(correlation_maps(output), correlation_maps(source))


def artefact_loss(
    output: Sequence[Tensor], target: Sequence[tuple[Tensor, Tensor]], mask: Tensor
) -> Tensor:
    """Eq. (4): distance of channel means and deviations over the channels with the nearest means.

    ``output`` are features of relu1_1 to relu3_1, ``target`` their (mean, deviation), each (B, C).
    The norms are divided by the root of the number of aligned channels, so that wide layers weigh
    no more than narrow ones.
    """
    total = output[0].new_zeros(())
    for features, (target_mean, target_deviation) in zip(output, target, strict=True):
        mean, deviation = (s.flatten(1) for s in channel_statistics(features, mask))
        mean_gap = mean - target_mean
        count = max(1, int(ALIGNED_CHANNEL_FRACTION * mean_gap.shape[1]))
        aligned = mean_gap.detach().abs().topk(count, dim=1, largest=False).indices
        for gap in (mean_gap, deviation - target_deviation):
            norm = gap.gather(1, aligned).square().mean(dim=1).add(1e-8).sqrt()
            total = total + norm.mean()
    return total


def supervised_loss(output: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Huber loss between the centre slices, inside a mask dilated by two pixels."""
    dilated = F.max_pool2d(fit_mask(mask, output), 5, stride=1, padding=2)
    error = F.huber_loss(output[:, 1:2], truth, delta=HUBER_DELTA, reduction="none")
    return (error * dilated).sum() / dilated.sum().clamp_min(1) / HUBER_DELTA


def split_embedding(embedding: Tensor, widths: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """(mean, deviation), each (B, C), of every layer in an embedding (B, E); ``widths`` are C."""
    means, deviations = embedding.chunk(2, dim=1)
    return list(
        zip(
            torch.split(means, list(widths), dim=1),
            torch.split(deviations, list(widths), dim=1),
            strict=True,
        )
    )
