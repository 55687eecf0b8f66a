"""Intensities of grey matter, white matter and CSF, which the intensity curve is made from.

Quantiles of a whole brain move with how much of each tissue there is, so atrophy or a large head
bends a curve that goes through them; the intensity of a tissue does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen

from bids_ihf.network.encoder import TISSUE_CLASSES, join_statistics
from bids_ihf.targets.intensity import HISTOGRAM_BINS, histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from bids_ihf.network.encoder import Encoder

TISSUE_COUNT = len(TISSUE_CLASSES) - 1

MIN_BRAIN_FRACTION = 0.9
"""Share of a pixel that must lie in the brain."""

ENCODER_BATCH_SLICES = 8
"""Slices in the encoder at once."""

EM_ITERATIONS = 20
"""Rounds of expectation and maximization."""

TISSUE_SD_BOUNDS = (0.03, 0.3)
"""Bounds of a tissue's standard deviation, network units."""

PUREST_PIXEL_FRACTION = 0.15
"""Share of a tissue's pixels, those the encoder is surest of, that its landmark comes from."""

MIN_LANDMARK_PIXELS = 60
"""Pixels (2 x 2 mm) a landmark needs."""

MIN_MEDIAN_PROBABILITY = 0.5
"""What the encoder must give the tissue in most of these pixels."""


@frozen(eq=False)
class SliceStatistics:
    """What the encoder says of S slices: embeddings (S, E), and of all of them together the
    landmarks (3,) and the histograms (3, LEVELS) of the tissues."""

    embeddings: NDArray[np.float32]
    landmarks: NDArray[np.float64]
    tissue_histograms: NDArray[np.float64]


@frozen(eq=False)
class Pixels:
    """N pixels of 2 x 2 voxels that lie in the brain: their voxels (N, 4), and the shares (N, 4)
    of TISSUE_CLASSES that the encoder sees in them."""

    voxels: NDArray[np.float64]
    tissue_probabilities: NDArray[np.float64]

    @property
    def level(self) -> NDArray[np.float64]:
        """Mean intensity (N,)."""
        return np.asarray(self.voxels.mean(axis=1))


def slice_statistics(
    encoder: Encoder, x: NDArray[np.float32], mask: NDArray[np.float32]
) -> SliceStatistics:
    """Embeddings and tissue landmarks of slices x (S, 3, H, W) with brain masks (S, H, W).

    Landmarks and histograms are in the units of ``x``, in the order of TISSUE_CLASSES, "other"
    left out.
    A landmark is NaN for a tissue of which too little is seen; where the encoder was not trained
    to name tissue all are, and the histograms are empty.
    """
    device = next(encoder.parameters()).device
    rows, seen = [], []
    with torch.inference_mode():
        for start in range(0, len(x), ENCODER_BATCH_SLICES):
            part = torch.from_numpy(x[start : start + ENCODER_BATCH_SLICES]).to(device)
            inside = torch.from_numpy(mask[start : start + ENCODER_BATCH_SLICES, None]).to(device)
            maps = encoder(part)
            rows.append(join_statistics(maps, inside).cpu().numpy())
            seen.append(_pixels(encoder, maps, part, inside))
    embeddings = np.concatenate(rows)
    pixels = Pixels(
        np.concatenate([part.voxels for part in seen]),
        np.concatenate([part.tissue_probabilities for part in seen]),
    )
    if not encoder.has_tissue_head or len(pixels.voxels) < MIN_LANDMARK_PIXELS:
        return SliceStatistics(
            embeddings, np.full(TISSUE_COUNT, np.nan), np.zeros((TISSUE_COUNT, HISTOGRAM_BINS))
        )
    posterior = tissue_posterior(pixels.level, pixels.tissue_probabilities)
    return SliceStatistics(
        embeddings,
        landmarks(pixels.level, pixels.tissue_probabilities, posterior),
        tissue_histograms(pixels, posterior),
    )


def _pixels(encoder: Encoder, maps: Sequence[Tensor], x: Tensor, mask: Tensor) -> Pixels:
    """The coarse pixels that lie in the brain."""
    share = encoder.tissue_logits(maps).softmax(dim=1)
    height, width = share.shape[-2:]
    x = F.pad(x[:, 1], (0, 2 * width - x.shape[-1], 0, 2 * height - x.shape[-2]), value=-1.0)
    inside = F.adaptive_avg_pool2d(mask[:, 0], (height, width)) > MIN_BRAIN_FRACTION
    blocks = x.reshape(-1, height, 2, width, 2).permute(0, 1, 3, 2, 4).flatten(3)
    return Pixels(
        blocks[inside].double().cpu().numpy(),
        share.permute(0, 2, 3, 1)[inside].double().cpu().numpy(),
    )


def tissue_histograms(pixels: Pixels, posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Histogram (3, LEVELS) of the voxels of each tissue, weighed by its probability (N, 3)."""
    voxels = pixels.voxels.astype(np.float32).ravel()
    return np.stack([histogram(voxels, np.repeat(weight, 4)) for weight in posterior.T])


def landmarks(
    level: NDArray[np.float64], share: NDArray[np.float64], posterior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Typical intensity (3,) of each tissue: the median of its purest pixels.

    ``level`` (N,), ``share`` (N, 4) and ``posterior`` (N, 3) are of the same pixels.
    """
    chosen = posterior.argmax(axis=1)
    return np.array([_purest(level, share[:, k], chosen == k) for k in range(TISSUE_COUNT)])


def tissue_posterior(
    level: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability (N, 3) of each tissue, from pixels' intensities (N,) and shares (N, 4).

    A mixture of one normal distribution a tissue is fitted with the shares as priors, as in
    Ashburner & Friston 2005 (NeuroImage 26:839), so that pixels the encoder mistakes go where
    their intensity belongs.
    """
    prior = share[:, :TISSUE_COUNT] + 1e-3
    mean = np.array([_weighted_median(level, column**4) for column in prior.T])
    spread = np.full(TISSUE_COUNT, 0.15)
    for _ in range(EM_ITERATIONS):
        likelihood = prior * np.exp(-0.5 * ((level[:, None] - mean) / spread) ** 2) / spread
        total = likelihood.sum(axis=1, keepdims=True) + 1e-3 * share[:, TISSUE_COUNT:] + 1e-9
        posterior = likelihood / total
        weight = posterior.sum(axis=0) + 1e-6
        mean = (posterior * level[:, None]).sum(axis=0) / weight
        variance = (posterior * (level[:, None] - mean) ** 2).sum(axis=0) / weight
        spread = np.clip(np.sqrt(variance), *TISSUE_SD_BOUNDS)
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
    count = max(MIN_LANDMARK_PIXELS, int(len(inside) * PUREST_PIXEL_FRACTION))
    best = inside[np.argsort(share[inside], kind="stable")[-count:]]
    if len(best) < MIN_LANDMARK_PIXELS or np.median(share[best]) < MIN_MEDIAN_PROBABILITY:
        return float("nan")
    return float(np.median(level[best]))
