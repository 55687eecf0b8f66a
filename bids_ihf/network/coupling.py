"""Invertible hierarchy flow (IHF): subtractive coupling on the way in, additive on the way out.

Section 2.4 of arXiv 2602.21536.  The reverse pass printed there returns its input only for
``alpha = 1``; :func:`fuse_exact` replaces the second estimate of a state by ``a_i + r_{i+1}``,
which is exact for every ``alpha``.  The printed form stays selectable for comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

Reverse = Literal["exact", "printed"]


def couple(x: Tensor, a: Sequence[Tensor]) -> list[Tensor]:
    """``h_1 = x - a_1``, ``h_i = h_{i-1} - a_i``; the list of all ``h_i``."""
    states = []
    for part in a:
        x = x - part
        states.append(x)
    return states


def fuse_exact(b: Sequence[Tensor], a: Sequence[Tensor], alpha: Tensor | float) -> Tensor:
    """``r_n = a_n + b_n``, ``r_i = alpha (a_i + b_i) + (1 - alpha)(a_i + r_{i+1})``; gives
    ``r_1``.

    Every ``r_i`` estimates ``h_{i-1}``, so ``b = couple(x, a)`` gives ``x`` back for any
    ``alpha``.
    """
    r = a[-1] + b[-1]
    for a_i, b_i in zip(reversed(a[:-1]), reversed(b[:-1]), strict=True):
        r = a_i + alpha * b_i + (1 - alpha) * r
    return r


def fuse_printed(b: Sequence[Tensor], a: Sequence[Tensor], alpha: Tensor | float) -> Tensor:
    """The paper's form: ``r_i = alpha (a_i + b_i) + (1 - alpha) r_{i+1}``."""
    r = a[-1] + b[-1]
    for a_i, b_i in zip(reversed(a[:-1]), reversed(b[:-1]), strict=True):
        r = alpha * (a_i + b_i) + (1 - alpha) * r
    return r


class HierarchyFlow(nn.Module):
    """One IHF: ``channels`` in, ``channels * splits`` out.

    The affine net is a stack of 3 x 3 convolutions.  Nothing is kept between the two passes:
    :meth:`encode` returns the affine parts that :meth:`decode` needs.
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
        """(B, C, H, W) to latent and affine parts, both (B, C * splits, H, W)."""
        a = self.affine_net(x)
        return torch.cat(couple(x, a.chunk(self.splits, dim=1)), dim=1), a

    def decode(self, b: Tensor, a: Tensor) -> Tensor:
        """Latent (B, C * splits, H, W) and the affine parts of its encoding to (B, C, H, W)."""
        fuse = fuse_exact if self.reverse == "exact" else fuse_printed
        return fuse(b.chunk(self.splits, dim=1), a.chunk(self.splits, dim=1), self.alpha)
