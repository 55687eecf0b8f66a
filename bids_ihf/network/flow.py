"""The IHF-Harmony network: encode a slice, change its latents towards the target, decode it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch.nn.functional as F
from attrs import frozen
from torch import Tensor, nn

from bids_ihf.network.context import Window
from bids_ihf.network.coupling import HierarchyFlow, Reverse
from bids_ihf.network.normalization import ArtefactAwareNorm, Form

INPUT_SLICES = 3
"""Channels of the network's input: a slice and its two neighbours (2.5D)."""


@frozen
class Architecture:
    """What is needed to build the network; stored in the checkpoint's header.

    Attributes
    ----------
    embedding
        Length of a scanner embedding, Eq. (1).
    splits, hidden
        Coupling steps and channels of the affine net, one number per block.
    style
        Width of the artefact-aware normalization.
    form, reverse
        The printed equations or ours, for normalization and reverse pass.
    local
        Widths of the local heads, one number per block; none in the paper.
    told_context
        Whether modality and position of the slices are told; not in the paper.
    """

    embedding: int
    splits: tuple[int, ...] = (2, 2)
    hidden: tuple[int, ...] = (64, 128)
    style: int = 128
    form: Form = "relative"
    reverse: Reverse = "exact"
    local: tuple[int, ...] = ()
    told_context: bool = False


@frozen
class Encoded:
    """An encoded image: the deepest latent, each block's affine tensor, and the image's size."""

    latent: Tensor
    affine: tuple[Tensor, ...]
    size: tuple[int, int]


class IHFNetwork(nn.Module):
    """Blocks of squeeze and IHF in; AAN, IHF reversed and unsqueeze out (Fig. 1a).

    The squeeze operation (section 2.2) moves each patch of 2 x 2 pixels into channels.

    Examples
    --------
    >>> import torch
    >>> network = IHFNetwork(Architecture(embedding=4, hidden=(4, 4), style=4))
    >>> slices = torch.rand(1, 3, 9, 7)
    >>> torch.allclose(network.decode(network.encode(slices)), slices, atol=1e-5)
    True
    >>> scanner = torch.zeros(1, 4)
    >>> network(slices, torch.ones(1, 1, 9, 7), target=scanner, source=scanner).shape
    torch.Size([1, 3, 9, 7])
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.flows = nn.ModuleList()
        self.norms = nn.ModuleList()
        channels = INPUT_SLICES
        local_widths = architecture.local or (0,) * len(architecture.splits)
        for splits, hidden, local in zip(
            architecture.splits, architecture.hidden, local_widths, strict=True
        ):
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
                    local=local,
                    told_context=architecture.told_context,
                )
            )

    @property
    def multiple(self) -> int:
        """Height and width of slices are padded to multiples of this number."""
        return int(2 ** len(self.flows))

    def encode(self, x: Tensor) -> Encoded:
        """Encode slices (B, 3, H, W) of any size; nothing is kept in the module."""
        size = (int(x.shape[-2]), int(x.shape[-1]))
        z = pad_to_multiple(x, self.multiple)
        affine = []
        for flow in self.flows:
            z, a = cast("HierarchyFlow", flow).encode(F.pixel_unshuffle(z, 2))
            affine.append(a)
        return Encoded(latent=z, affine=tuple(affine), size=size)

    def decode(
        self, encoded: Encoded, modulate: Callable[[int, Tensor], Tensor] | None = None
    ) -> Tensor:
        """Decode to slices (B, 3, H, W).

        ``modulate(block, latent)`` returns the new latent of a block; without it, the result is
        what was encoded.
        """
        z = encoded.latent
        for block in reversed(range(len(self.flows))):
            b = z if modulate is None else modulate(block, z)
            flow = cast("HierarchyFlow", self.flows[block])
            z = F.pixel_shuffle(flow.decode(b, encoded.affine[block]), 2)
        return z[..., : encoded.size[0], : encoded.size[1]]

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        target: Tensor,
        source: Tensor,
        context: Tensor | None = None,
        window: Window | None = None,
    ) -> Tensor:
        """Harmonize slices (B, 3, H, W) with intensities in [-1, 1].

        `mask` is the brain mask (B, 1, H, W); `target` and `source` are scanner embeddings (B, E);
        `context` is (B, C), see `slice_context`, and is left aside by networks that are told none;
        `window` is set where the slices are parts of larger ones.
        """
        padded = pad_to_multiple(mask, self.multiple)

        def modulate(block: int, z: Tensor) -> Tensor:
            latent: Tensor = self.norms[block](z, padded, target, source, context, window)
            return latent

        return self.decode(self.encode(x), modulate)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples; crop to undo."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
