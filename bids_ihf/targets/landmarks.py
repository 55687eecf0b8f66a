"""Intensities of grey matter, white matter and CSF, from which the intensity curve is estimated.

Quantiles of the whole brain depend on tissue volumes, so atrophy or a large head distorts a curve
through them; the intensity of a tissue does not.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from attrs import field, frozen
from numpy.typing import NDArray
from torch import Tensor

from bids_ihf.network.batch_threads import batch_threads
from bids_ihf.network.encoder import TISSUE_CLASSES, Encoder, join_statistics
from bids_ihf.targets.intensity import HISTOGRAM_BINS, PRIOR_POWER, histogram, weighted_median
from bids_ihf.targets.regional import Regions, empty_regions, sum_by_region

Array = NDArray[np.float64]

TISSUE_COUNT = len(TISSUE_CLASSES) - 1
"""Tissues with a landmark: grey matter, white matter and CSF, but not "other"."""

CSF = TISSUE_CLASSES.index("csf")
"""Index of CSF among the tissues."""

DARK_CSF_PERCENTILE = 5.0
"""Percentile of the brain's intensities that CSF does not exceed in FLAIR."""

MIN_BRAIN_FRACTION = 0.9
"""Fraction of a pixel that must lie in the brain mask."""

ENCODER_BATCH_SLICES = 8
"""Slices that the encoder gets at once."""

PROBABILITY_FLOOR = 1e-3
"""Added to the encoder's probability of each tissue, and weight of that of no tissue, so that
intensity can correct what the encoder excludes."""

INITIAL_TISSUE_SD = 0.15
"""Standard deviation of each tissue's intensities, network units, from which the fit begins."""

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
    ``tissue_histograms`` (3, HISTOGRAM_BINS), in the order of grey matter, white matter and CSF;
    ``regions`` by slice, see `sum_by_region`.
    """

    embeddings: NDArray[np.float32]
    landmarks: NDArray[np.float64]
    tissue_histograms: NDArray[np.float64]
    regions: Regions = field(factory=empty_regions)


def slice_statistics(
    encoder: Encoder,
    x: NDArray[np.float32],
    mask: NDArray[np.float32],
    priors: NDArray[np.float32] | None = None,
    corner: tuple[float, float] = (0.0, 0.0),
    threads: int = 1,
) -> SliceStatistics:
    """Embeddings and tissue statistics of slices x (S, 3, H, W) with brain masks (S, H, W).

    Landmarks and histograms are in the units of ``x``.  The landmark of a tissue with too few
    pixels is NaN; with an encoder that has no trained tissue read-out all landmarks are NaN, and
    the histograms are empty.

    Where the encoder's read-out does not know the contrast, ``priors`` (S, 3, H, W) are the
    fractions of the tissues, and CSF is the darkest: FLAIR.  ``corner`` are the template
    coordinates x and y (mm) of the first voxel.  On a CPU ``threads`` batches of slices run at a
    time, each in one thread of torch.
    """
    device = next(encoder.parameters()).device
    is_flair = priors is not None

    def encode(start: int) -> tuple[NDArray[np.float32], Array, Array, NDArray[np.intp]]:
        stop = start + ENCODER_BATCH_SLICES
        with torch.inference_mode():
            slices = torch.from_numpy(x[start:stop]).to(device)
            inside = torch.from_numpy(mask[start:stop, None]).to(device)
            maps = encoder(slices)
            if priors is None:
                tissues = encoder.tissue_logits(maps).softmax(dim=1)
            else:
                tissues = _pixel_priors(torch.from_numpy(priors[start:stop]).to(device))
            voxels, probabilities, index = _brain_pixels(tissues, slices, inside)
            embeddings = join_statistics(maps, inside).cpu().numpy()
        return embeddings, voxels, probabilities, index + np.array([start, 0, 0])

    with batch_threads(device, threads) as run_all:
        batches = list(run_all(encode, range(0, len(x), ENCODER_BATCH_SLICES)))
    embeddings, voxels, probabilities, pixels = zip(*batches, strict=True)
    statistics = tissue_statistics(
        np.concatenate(voxels),
        np.concatenate(probabilities),
        encoder.has_tissue_head or is_flair,
        is_flair=is_flair,
    )
    index = np.concatenate(pixels)
    # Centres of pixels of 2 x 2 voxels of 1 mm.
    x_mm, y_mm = (index[:, 1 + axis] * 2.0 + 0.5 + corner[axis] for axis in range(2))
    regions = sum_by_region(
        index[:, 0], x_mm, y_mm, statistics.level, statistics.probabilities, positions=len(x)
    )
    return SliceStatistics(
        np.concatenate(embeddings), statistics.landmarks, statistics.histograms, regions
    )


def _pixel_priors(priors: Tensor) -> Tensor:
    """Probabilities (S, 4, h, w) of TISSUE_CLASSES in pixels of 2 x 2 voxels, from fractions of
    tissues (S, 3, H, W)."""
    pooled = F.avg_pool2d(priors, 2, ceil_mode=True)
    return torch.cat([pooled, 1 - pooled.sum(dim=1, keepdim=True)], dim=1).clamp(0, 1)


def _brain_pixels(
    probabilities: Tensor, x: Tensor, mask: Tensor
) -> tuple[Array, Array, NDArray[np.intp]]:
    """Pixels of the tissue read-out that lie in the brain: intensities (N, 4) of their 2 x 2
    voxels, probabilities (N, 4) of TISSUE_CLASSES, and index (N, 3) of slice, row and column."""
    height, width = probabilities.shape[-2:]
    x = F.pad(x[:, 1], (0, 2 * width - x.shape[-1], 0, 2 * height - x.shape[-2]), value=-1.0)
    inside = F.adaptive_avg_pool2d(mask[:, 0], (height, width)) > MIN_BRAIN_FRACTION
    blocks = x.reshape(-1, height, 2, width, 2).permute(0, 1, 3, 2, 4).flatten(3)
    return (
        blocks[inside].double().cpu().numpy(),
        probabilities.permute(0, 2, 3, 1)[inside].double().cpu().numpy(),
        inside.nonzero().cpu().numpy(),
    )


@frozen(eq=False)
class TissueStatistics:
    """Landmarks (3,) and histograms (3, HISTOGRAM_BINS) of the tissues, and of N pixels the
    intensity ``level`` (N,) and the ``probabilities`` (N, 3) of the tissues: the mean of those by
    appearance alone and those that use the intensity as well, which take a part of a field for
    tissue but tell it more sharply."""

    landmarks: Array
    histograms: Array
    level: Array
    probabilities: Array


def tissue_statistics(
    voxels: Array, probabilities: Array, has_tissue_head: bool, *, is_flair: bool = False
) -> TissueStatistics:
    """Statistics of the tissues, from the intensities of
    pixels' voxels (N, 4) and their probabilities (N, 4).  In FLAIR, CSF without a landmark darker
    than those of the other tissues has none."""
    landmarks, histograms = np.full(TISSUE_COUNT, np.nan), np.zeros((TISSUE_COUNT, HISTOGRAM_BINS))
    level = voxels.mean(axis=1)
    if not has_tissue_head or len(voxels) < MIN_LANDMARK_PIXELS:
        return TissueStatistics(landmarks, histograms, level, np.zeros((len(level), TISSUE_COUNT)))
    posterior = tissue_posterior(level, probabilities, is_flair=is_flair)
    most_likely = posterior.argmax(axis=1)
    intensities = voxels.astype(np.float32).ravel()
    for tissue in range(TISSUE_COUNT):
        histograms[tissue] = histogram(intensities, np.repeat(posterior[:, tissue], 4))
        pixels, probability = np.flatnonzero(most_likely == tissue), probabilities[:, tissue]
        count = max(MIN_LANDMARK_PIXELS, int(len(pixels) * PUREST_PIXEL_FRACTION))
        purest = pixels[np.argsort(probability[pixels], kind="stable")[-count:]]
        enough = len(purest) >= MIN_LANDMARK_PIXELS
        if enough and np.median(probability[purest]) >= MIN_MEDIAN_PROBABILITY:
            landmarks[tissue] = np.median(level[purest])
    if is_flair and landmarks[CSF] > np.nanmin(landmarks):
        landmarks[CSF] = np.nan
    shared = (probabilities[:, :TISSUE_COUNT] + posterior) / 2
    return TissueStatistics(landmarks, histograms, level, shared)


def tissue_posterior(level: Array, probabilities: Array, *, is_flair: bool = False) -> Array:
    """Posterior probability (N, 3) of each tissue, from the intensities (N,) of pixels and their
    probabilities (N, 4).

    A mixture of one normal distribution per tissue is fitted with the encoder's probabilities as
    priors, as in Ashburner & Friston 2005 (NeuroImage 26:839), so that pixels the encoder
    misclassifies are assigned by their intensity.  In FLAIR the mean of CSF starts as that of the
    darkest pixels where it would be brighter, as in a brain with little CSF.
    """
    prior = probabilities[:, :TISSUE_COUNT] + PROBABILITY_FLOOR
    mean = np.array([weighted_median(level, column**PRIOR_POWER) for column in prior.T])
    if is_flair:
        mean[CSF] = min(mean[CSF], float(np.percentile(level, DARK_CSF_PERCENTILE)))
    sd = np.full(TISSUE_COUNT, INITIAL_TISSUE_SD)
    for _ in range(EM_ITERATIONS):
        likelihood = prior * np.exp(-0.5 * ((level[:, None] - mean) / sd) ** 2) / sd
        total = likelihood.sum(axis=1, keepdims=True)
        total = total + PROBABILITY_FLOOR * probabilities[:, TISSUE_COUNT:] + 1e-9
        posterior = likelihood / total
        weight = posterior.sum(axis=0) + 1e-6
        mean = (posterior * level[:, None]).sum(axis=0) / weight
        variance = (posterior * (level[:, None] - mean) ** 2).sum(axis=0) / weight
        sd = np.clip(np.sqrt(variance), *TISSUE_SD_BOUNDS)
    return posterior
