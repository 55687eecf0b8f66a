"""Invertible hierarchy flow (IHF): subtractive coupling forward, additive in reverse.

Section 2.4 of arXiv 2602.21536.  The reverse pass printed there returns its input only for
``alpha = 1``; `fuse_exact` replaces the second estimate of a state by ``a_i + r_{i+1}``, which is
exact for every ``alpha``.  The printed form stays available for comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Reverse = Literal["exact", "printed"]


def couple(x: Tensor, a: Sequence[Tensor]) -> list[Tensor]:
    """Forward pass: ``h_1 = x - a_1``, ``h_i = h_{i-1} - a_i``; returns all ``h_i``.

    Examples
    --------
    >>> a = [torch.tensor(2.0), torch.tensor(3.0)]
    >>> states = couple(torch.tensor(10.0), a)
    >>> [h.item() for h in states]
    [8.0, 5.0]
    >>> fuse_exact(states, a, 0.3).item(), round(fuse_printed(states, a, 0.3).item(), 4)
    (10.0, 8.6)
    """
    states = []
    for a_i in a:
        x = x - a_i
        states.append(x)
    return states


def fuse_exact(b: Sequence[Tensor], a: Sequence[Tensor], alpha: Tensor | float) -> Tensor:
    """Reverse pass, exact for every `alpha`; returns ``r_1``.

    ``r_n = a_n + b_n``, ``r_i = alpha (a_i + b_i) + (1 - alpha)(a_i + r_{i+1})``.  Every ``r_i``
    estimates ``h_{i-1}``, so ``fuse_exact(couple(x, a), a, alpha)`` is ``x``.
    """
    r = a[-1] + b[-1]
    for a_i, b_i in zip(reversed(a[:-1]), reversed(b[:-1]), strict=True):
        r = a_i + alpha * b_i + (1 - alpha) * r
    return r


def fuse_printed(b: Sequence[Tensor], a: Sequence[Tensor], alpha: Tensor | float) -> Tensor:
    """Reverse pass as printed: ``r_i = alpha (a_i + b_i) + (1 - alpha) r_{i+1}``."""
    r = a[-1] + b[-1]
    for a_i, b_i in zip(reversed(a[:-1]), reversed(b[:-1]), strict=True):
        r = alpha * (a_i + b_i) + (1 - alpha) * r
    return r


class HierarchyFlow(nn.Module):
    """One IHF of n = `splits` coupling steps: ``channels`` in, ``channels * splits`` out.

    The affine net is a stack of 3 x 3 convolutions with `hidden` channels.  Nothing is kept in the
    module: `encode` returns the affine tensor that `decode` needs.
    """

    def __init__(
        self, channels: int, *, splits: int, hidden: int, reverse: Reverse = "exact"
    ) -> None:
        super().__init__()
        self.splits = splits
        self.reverse = reverse
        self.affine_net = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1, padding_mode="replicate"),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=1, padding_mode="replicate"),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels * splits, 3, padding=1, padding_mode="replicate"),
        )
        self.alpha_logit = nn.Parameter(torch.zeros(()))

    @property
    def alpha(self) -> Tensor:
        """The learned fusion weight, between 0 and 1."""
        return torch.sigmoid(self.alpha_logit)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) to latent and affine tensor, both (B, C * splits, H, W)."""
        a = self.affine_net(x)
        return torch.cat(couple(x, a.chunk(self.splits, dim=1)), dim=1), a

    def decode(self, b: Tensor, a: Tensor) -> Tensor:
        """Latent and affine tensor, both (B, C * splits, H, W), to (B, C, H, W)."""
        fuse = fuse_exact if self.reverse == "exact" else fuse_printed
        return fuse(b.chunk(self.splits, dim=1), a.chunk(self.splits, dim=1), self.alpha)
