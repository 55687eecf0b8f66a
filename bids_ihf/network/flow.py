"""The IHF-Harmony network: encode a slice, change its latents towards the target, decode it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import torch
from attrs import frozen
from torch import Tensor, nn

from bids_ihf.network.coupling import HierarchyFlow
from bids_ihf.network.normalization import ArtefactAwareNorm
from bids_ihf.network.squeeze import pad_to_multiple, squeeze, unsqueeze

if TYPE_CHECKING:
    from collections.abc import Callable

INPUT_SLICES = 3
"""A slice and its two neighbours."""


@frozen
class Architecture:
    """All that is needed to build the network; stored in the checkpoint's header.

    ``splits`` and ``hidden`` hold one number a block; ``embedding`` is the length of the encoder's
    statistics; ``form`` and ``reverse`` choose between the printed equations and ours.
    """

    embedding: int
    splits: tuple[int, ...] = (2, 2)
    hidden: tuple[int, ...] = (64, 128)
    style: int = 128
    form: Literal["relative", "printed"] = "relative"
    reverse: Literal["exact", "printed"] = "exact"


@frozen
class Encoded:
    """What decoding needs: the deepest latent, the affine parts of every block, the image's
    size."""

    latent: Tensor
    affine: tuple[Tensor, ...]
    size: tuple[int, int]


class IHFNetwork(nn.Module):
    """Blocks of squeeze and IHF in; AAN, IHF reversed and unsqueeze out (Fig. 1a)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.flows = nn.ModuleList()
        self.norms = nn.ModuleList()
        channels = INPUT_SLICES
        for splits, hidden in zip(architecture.splits, architecture.hidden, strict=True):
            channels *= 4
            self.flows.append(
                HierarchyFlow(channels, splits=splits, hidden=hidden, reverse=architecture.reverse)
            )
            channels *= splits
            self.norms.append(
                ArtefactAwareNorm(
                    channels,
                    architecture.embedding,
                    hidden=architecture.style,
                    form=architecture.form,
                )
            )

    def _flows(self) -> list[HierarchyFlow]:
        return [cast("HierarchyFlow", flow) for flow in self.flows]

    def encode(self, x: Tensor) -> Encoded:
        """(B, 3, H, W) of any size to its latents; nothing is kept in the module."""
        size = (int(x.shape[-2]), int(x.shape[-1]))
        z = pad_to_multiple(x, 2 ** len(self.flows))
        parts = []
        for flow in self._flows():
            z, a = flow.encode(squeeze(z))
            parts.append(a)
        return Encoded(latent=z, affine=tuple(parts), size=size)

    def decode(
        self, encoded: Encoded, modulate: Callable[[int, Tensor], Tensor] | None = None
    ) -> Tensor:
        """Latents to (B, 3, H, W).

        ``modulate(block, latent)`` changes each latent on the way out; without it the result is
        what was encoded.
        """
        z = encoded.latent
        for block in reversed(range(len(self.flows))):
            b = z if modulate is None else modulate(block, z)
            z = unsqueeze(self._flows()[block].decode(b, encoded.affine[block]))
        return z[..., : encoded.size[0], : encoded.size[1]]

    def forward(self, x: Tensor, mask: Tensor, target: Tensor, source: Tensor) -> Tensor:
        """Harmonize slices (B, 3, H, W) in [-1, 1] with brain mask (B, 1, H, W).

        ``target`` and ``source`` are embeddings (B, E); the result is (B, 3, H, W).
        """
        padded = pad_to_multiple(mask, 2 ** len(self.flows))

        def modulate(block: int, z: Tensor) -> Tensor:
            out: Tensor = self.norms[block](z, padded, target, source)
            return out

        return self.decode(self.encode(x), modulate)


def round_trip_error(network: IHFNetwork, x: Tensor) -> float:
    """Largest absolute difference between ``x`` and its decoded encoding, AAN bypassed."""
    with torch.inference_mode():
        return float((network.decode(network.encode(x)) - x).abs().max())
