"""Intensities of grey matter, white matter and CSF, which the intensity curve is made from.

Quantiles of a whole brain move with how much of each tissue there is, so atrophy or a large head
bends a curve that goes through them; the intensity of a tissue does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen

from bids_ihf.volume.intensity import LEVELS, histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.model.encoder import Encoder

TISSUES = ("grey", "white", "csf")
"""The tissues that have a landmark; deep grey matter is grey."""

WHOLLY = 0.9
"""Share of a pixel that must lie in the brain."""

CHUNK = 8
"""Slices in the encoder at once."""

STEPS = 20
"""Rounds of expectation and maximization."""

SPREAD = (0.03, 0.3)
"""Bounds of a tissue's standard deviation, network units."""

PUREST = 0.15
"""Share of a tissue's pixels, the purest, that its landmark comes from."""

ENOUGH = 60
"""Pixels (2 x 2 mm) a landmark needs."""

SURE = 0.5
"""Share that the tissue must have in most of these pixels."""


@frozen(eq=False)
class SliceStatistics:
    """Of S slices: the encoder's embeddings (S, E), and of all of them together the landmarks (3,)
    and the histograms (3, LEVELS) of the tissues."""

    embeddings: NDArray[np.float32]
    landmarks: NDArray[np.float64]
    tissues: NDArray[np.float64]


@frozen(eq=False)
class Pixels:
    """N pixels of 2 x 2 voxels that lie in the brain: their voxels (N, 4), and the shares (N, 3)
    of TISSUES in them."""

    voxels: NDArray[np.float64]
    shares: NDArray[np.float64]

    @property
    def level(self) -> NDArray[np.float64]:
        """Mean intensity (N,)."""
        return np.asarray(self.voxels.mean(axis=1))


def slice_statistics(
    encoder: Encoder,
    x: NDArray[np.float32],
    mask: NDArray[np.float32],
    tissues: NDArray[np.float32],
) -> SliceStatistics:
    """Embeddings and tissue landmarks of slices x (S, 3, H, W) with brain masks (S, H, W) and
    tissue shares (S, 3, H, W).

    Landmarks and histograms are in the units of ``x``, in the order of TISSUES.  A landmark is NaN
    for a tissue of which too little is seen.
    """
    embeddings = _embeddings(encoder, x, mask)
    pixels = pixels_of(x[:, 1], mask, tissues)
    if len(pixels.voxels) < ENOUGH:
        empty = np.zeros((len(TISSUES), LEVELS))
        return SliceStatistics(embeddings, np.full(len(TISSUES), np.nan), empty)
    posterior = tissue_posterior(pixels.level, pixels.shares)
    return SliceStatistics(
        embeddings,
        landmarks(pixels.level, pixels.shares, posterior),
        tissue_histograms(pixels, posterior),
    )


def _embeddings(
    encoder: Encoder, x: NDArray[np.float32], mask: NDArray[np.float32]
) -> NDArray[np.float32]:
    device = next(encoder.parameters()).device
    rows = []
    with torch.inference_mode():
        for start in range(0, len(x), CHUNK):
            part = torch.from_numpy(x[start : start + CHUNK]).to(device)
            inside = torch.from_numpy(mask[start : start + CHUNK, None]).to(device)
            rows.append(encoder.embed(part, inside).cpu().numpy())
    return np.concatenate(rows)


def pixels_of(
    x: NDArray[np.float32], mask: NDArray[np.float32], tissues: NDArray[np.float32]
) -> Pixels:
    """The coarse pixels that lie in the brain, of slices (S, H, W) with masks and tissue shares
    (S, 3, H, W)."""
    voxels = _blocks(x)
    inside = _blocks(mask).mean(axis=-1) > WHOLLY
    shares = np.stack([_blocks(each).mean(axis=-1)[inside] for each in np.moveaxis(tissues, 1, 0)])
    return Pixels(voxels[inside].astype(np.float64), shares.T.astype(np.float64))


def _blocks(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S, H, W) to (S, H / 2, W / 2, 4); an odd last row is left out."""
    s, h, w = x.shape
    even = x[:, : h - h % 2, : w - w % 2].reshape(s, h // 2, 2, w // 2, 2)
    return even.transpose(0, 1, 3, 2, 4).reshape(s, h // 2, w // 2, 4)


def tissue_histograms(pixels: Pixels, posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Histogram (3, LEVELS) of the voxels of each tissue, weighed by its probability (N, 3)."""
    voxels = pixels.voxels.astype(np.float32).ravel()
    return np.stack([histogram(voxels, np.repeat(weight, 4)) for weight in posterior.T])


def landmarks(
    level: NDArray[np.float64], share: NDArray[np.float64], posterior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Typical intensity (3,) of each tissue: the median of its purest pixels.

    ``level`` (N,), ``share`` (N, 3) and ``posterior`` (N, 3) are of the same pixels.
    """
    chosen = posterior.argmax(axis=1)
    return np.array([_purest(level, share[:, k], chosen == k) for k in range(len(TISSUES))])


def tissue_posterior(
    level: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability (N, 3) of each tissue, from pixels' intensities (N,) and shares (N, 3).

    A mixture of one normal distribution a tissue is fitted with the shares as priors, as in
    Ashburner & Friston 2005 (NeuroImage 26:839), so that mistaken pixels go where their intensity
    belongs.
    """
    prior = share + 1e-3
    mean = np.array([_weighted_median(level, column**4) for column in prior.T])
    spread = np.full(len(TISSUES), 0.15)
    other = np.clip(1 - share.sum(axis=1), 0, 1)
    for _ in range(STEPS):
        likelihood = prior * np.exp(-0.5 * ((level[:, None] - mean) / spread) ** 2) / spread
        total = likelihood.sum(axis=1, keepdims=True) + 1e-3 * other[:, None] + 1e-9
        posterior = likelihood / total
        weight = posterior.sum(axis=0) + 1e-6
        mean = (posterior * level[:, None]).sum(axis=0) / weight
        variance = (posterior * (level[:, None] - mean) ** 2).sum(axis=0) / weight
        spread = np.clip(np.sqrt(variance), *SPREAD)
    return posterior


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def _purest(
    level: NDArray[np.float64], share: NDArray[np.float64], chosen: NDArray[np.bool_]
) -> float:
    """Median intensity of the chosen pixels with the greatest share; NaN if few or unsure."""
    inside = np.flatnonzero(chosen)
    count = max(ENOUGH, int(len(inside) * PUREST))
    best = inside[np.argsort(share[inside], kind="stable")[-count:]]
    if len(best) < ENOUGH or np.median(share[best]) < SURE:
        return float("nan")
    return float(np.median(level[best]))
