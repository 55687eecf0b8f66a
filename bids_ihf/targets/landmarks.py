"""Intensities of grey matter, white matter and CSF, from which the intensity curve is estimated.

Quantiles of the whole brain depend on tissue volumes, so atrophy or a large head distorts a curve
through them; the intensity of a tissue does not.
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
"""Tissues with a landmark: grey matter, white matter and CSF, but not "other"."""

MIN_BRAIN_FRACTION = 0.9
"""Fraction of a pixel that must lie in the brain mask."""

ENCODER_BATCH_SLICES = 8
"""Slices that the encoder gets at once."""

EM_ITERATIONS = 20
"""Iterations of expectation maximization."""

TISSUE_SD_BOUNDS = (0.03, 0.3)
"""Bounds of a tissue's standard deviation, network units."""

PUREST_PIXEL_FRACTION = 0.15
"""Fraction of a tissue's pixels, those of highest encoder probability, that its landmark is the
median of."""

MIN_LANDMARK_PIXELS = 60
"""Pixels (2 x 2 mm) that a landmark needs."""

MIN_MEDIAN_PROBABILITY = 0.5
"""Smallest median encoder probability of those pixels."""


@frozen(eq=False)
class SliceStatistics:
    """Encoder statistics of S slices.

    ``embeddings`` (S, E) by slice; of all slices together the ``landmarks`` (3,) and the
    ``tissue_histograms`` (3, HISTOGRAM_BINS), in the order of grey matter, white matter and CSF.
    """

    embeddings: NDArray[np.float32]
    landmarks: NDArray[np.float64]
    tissue_histograms: NDArray[np.float64]


@frozen(eq=False)
class Pixels:
    """N brain pixels of 2 x 2 voxels: intensities of their ``voxels`` (N, 4), and
    ``tissue_probabilities`` (N, 4) by the encoder, in the order of TISSUE_CLASSES."""

    voxels: NDArray[np.float64]
    tissue_probabilities: NDArray[np.float64]

    @property
    def level(self) -> NDArray[np.float64]:
        """Mean intensity (N,)."""
        return np.asarray(self.voxels.mean(axis=1))


def slice_statistics(
    encoder: Encoder, x: NDArray[np.float32], mask: NDArray[np.float32]
) -> SliceStatistics:
    """Embeddings and tissue statistics of slices x (S, 3, H, W) with brain masks (S, H, W).

    Landmarks and histograms are in the units of ``x``.  The landmark of a tissue with too few
    pixels is NaN; with an encoder that has no trained tissue read-out all landmarks are NaN, and
    the histograms are empty.
    """
    device = next(encoder.parameters()).device
    rows, batches = [], []
    with torch.inference_mode():
        for start in range(0, len(x), ENCODER_BATCH_SLICES):
            stop = start + ENCODER_BATCH_SLICES
            slices = torch.from_numpy(x[start:stop]).to(device)
            inside = torch.from_numpy(mask[start:stop, None]).to(device)
            maps = encoder(slices)
            rows.append(join_statistics(maps, inside).cpu().numpy())
            batches.append(_brain_pixels(encoder, maps, slices, inside))
    embeddings = np.concatenate(rows)
    pixels = Pixels(
        np.concatenate([batch.voxels for batch in batches]),
        np.concatenate([batch.tissue_probabilities for batch in batches]),
    )
    if not encoder.has_tissue_head or len(pixels.voxels) < MIN_LANDMARK_PIXELS:
        empty = np.zeros((TISSUE_COUNT, HISTOGRAM_BINS))
        return SliceStatistics(embeddings, np.full(TISSUE_COUNT, np.nan), empty)
    posterior = tissue_posterior(pixels.level, pixels.tissue_probabilities)
    return SliceStatistics(
        embeddings,
        tissue_landmarks(pixels.level, pixels.tissue_probabilities, posterior),
        tissue_histograms(pixels, posterior),
    )


def _brain_pixels(encoder: Encoder, maps: Sequence[Tensor], x: Tensor, mask: Tensor) -> Pixels:
    """Pixels of the tissue read-out that lie in the brain."""
    probabilities = encoder.tissue_logits(maps).softmax(dim=1)
    height, width = probabilities.shape[-2:]
    x = F.pad(x[:, 1], (0, 2 * width - x.shape[-1], 0, 2 * height - x.shape[-2]), value=-1.0)
    inside = F.adaptive_avg_pool2d(mask[:, 0], (height, width)) > MIN_BRAIN_FRACTION
    blocks = x.reshape(-1, height, 2, width, 2).permute(0, 1, 3, 2, 4).flatten(3)
    return Pixels(
        blocks[inside].double().cpu().numpy(),
        probabilities.permute(0, 2, 3, 1)[inside].double().cpu().numpy(),
    )


def tissue_posterior(
    level: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Posterior probability (N, 3) of each tissue, from the intensities (N,) of pixels and their
    encoder probabilities (N, 4).

    A mixture of one normal distribution per tissue is fitted with the encoder's probabilities as
    priors, as in Ashburner & Friston 2005 (NeuroImage 26:839), so that pixels the encoder
    misclassifies are assigned by their intensity.
    """
    prior = probabilities[:, :TISSUE_COUNT] + 1e-3
    mean = np.array([_weighted_median(level, column**4) for column in prior.T])
    sd = np.full(TISSUE_COUNT, 0.15)
    for _ in range(EM_ITERATIONS):
        likelihood = prior * np.exp(-0.5 * ((level[:, None] - mean) / sd) ** 2) / sd
        total = likelihood.sum(axis=1, keepdims=True)
        total = total + 1e-3 * probabilities[:, TISSUE_COUNT:] + 1e-9
        posterior = likelihood / total
        weight = posterior.sum(axis=0) + 1e-6
        mean = (posterior * level[:, None]).sum(axis=0) / weight
        variance = (posterior * (level[:, None] - mean) ** 2).sum(axis=0) / weight
        sd = np.clip(np.sqrt(variance), *TISSUE_SD_BOUNDS)
    return posterior


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def tissue_landmarks(
    level: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    posterior: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Typical intensity (3,) of each tissue: the median of its purest pixels.

    ``level`` (N,), encoder ``probabilities`` (N, 4) and ``posterior`` (N, 3) are of the same
    pixels.  NaN where pixels are too few or their probabilities too low.
    """
    most_likely = posterior.argmax(axis=1)
    landmarks = np.full(TISSUE_COUNT, np.nan)
    for tissue in range(TISSUE_COUNT):
        pixels = np.flatnonzero(most_likely == tissue)
        count = max(MIN_LANDMARK_PIXELS, int(len(pixels) * PUREST_PIXEL_FRACTION))
        probability = probabilities[:, tissue]
        purest = pixels[np.argsort(probability[pixels], kind="stable")[-count:]]
        enough = len(purest) >= MIN_LANDMARK_PIXELS
        if enough and np.median(probability[purest]) >= MIN_MEDIAN_PROBABILITY:
            landmarks[tissue] = np.median(level[purest])
    return landmarks


def tissue_histograms(pixels: Pixels, posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Histogram (3, HISTOGRAM_BINS) of the voxels of each tissue, weighted by the posterior (N, 3)
    of their pixels."""
    voxels = pixels.voxels.astype(np.float32).ravel()
    return np.stack([histogram(voxels, np.repeat(weight, 4)) for weight in posterior.T])
