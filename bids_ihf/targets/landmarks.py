"""Typical intensities of grey matter, white matter and CSF: the landmarks of the intensity curve.

Quantiles of a whole brain move with how much of each tissue there is, so atrophy or a large head
bends a curve that goes through them; the intensity of a tissue does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen

from bids_ihf.model.encoder import TISSUES, join_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from bids_ihf.model.encoder import Encoder

COUNT = len(TISSUES) - 1

PURE = 0.85
"""Share of a tissue from which a pixel counts as made of it."""

WHOLLY = 0.9
"""Share of a pixel that must lie in the brain."""

CHUNK = 8
"""Slices in the encoder at once."""

ENOUGH = 60
"""Pixels of 2 x 2 mm a tissue must have to be a landmark."""


@frozen(eq=False)
class SliceStatistics:
    """What the encoder says of S slices: embeddings (S, E), and the landmarks (3,) of all."""

    embeddings: NDArray[np.float32]
    landmarks: NDArray[np.float64]


def slice_statistics(
    encoder: Encoder, x: NDArray[np.float32], mask: NDArray[np.float32]
) -> SliceStatistics:
    """Embeddings and tissue landmarks of slices x (S, 3, H, W) with brain masks (S, H, W).

    Landmarks are in the units of ``x``, in the order of TISSUES, "other" left out; NaN for a
    tissue of which too little is seen, or where the encoder was not trained to name tissue.
    """
    device = next(encoder.parameters()).device
    rows: list[NDArray[np.float32]] = []
    values: list[list[Tensor]] = [[] for _ in range(COUNT)]
    with torch.inference_mode():
        for start in range(0, len(x), CHUNK):
            part = torch.from_numpy(x[start : start + CHUNK]).to(device)
            inside = torch.from_numpy(mask[start : start + CHUNK, None]).to(device)
            maps = encoder(part)
            rows.append(join_statistics(maps, inside).cpu().numpy())
            if encoder.names_tissue:
                for found, more in zip(values, _pure(encoder, maps, part, inside), strict=True):
                    found.append(more)
    landmarks = [_typical(torch.cat(found)) if found else np.nan for found in values]
    return SliceStatistics(np.concatenate(rows), np.array(landmarks))


def _pure(encoder: Encoder, maps: Sequence[Tensor], x: Tensor, mask: Tensor) -> list[Tensor]:
    """Intensities of the pixels that are almost all of one tissue, for each tissue."""
    share = encoder.tissue_logits(maps).softmax(dim=1)
    size = (share.shape[-2], share.shape[-1])
    level = F.adaptive_avg_pool2d(x[:, 1], size)
    inside = F.adaptive_avg_pool2d(mask[:, 0], size) > WHOLLY
    return [level[(share[:, number] > PURE) & inside].cpu() for number in range(COUNT)]


def _typical(values: Tensor) -> float:
    return float(values.median()) if values.numel() >= ENOUGH else np.nan
