"""Heads of random contrast, pose and quality, to train the segmentation network.

After Billot et al. 2023 (Med Image Anal 86:102789, SynthSeg): if contrast, shape and quality never
repeat, the network learns from anatomy alone.  The contrasts are those of simulated protocols or
drawn freely; for the probability of the latter see `generate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen
from scipy import ndimage

from bids_ihf.lab.simulation.label_anatomy import read_label_map
from bids_ihf.lab.simulation.label_mixtures import BRAIN_LABELS, mixture_table
from bids_ihf.lab.simulation.random_protocols import random_protocol
from bids_ihf.lab.simulation.reference_segmentation import filled_brain_mask
from bids_ihf.lab.simulation.signal_equations import tissue_signal
from bids_ihf.lab.simulation.synthetic_artefacts import (
    acquire,
    add_lesions,
    crop,
    normalize,
)
from bids_ihf.lab.simulation.synthetic_pose import random_pose, sample_volumes
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX
from bids_ihf.preprocessing.segmentation import SEGMENTATION_VOXEL_MM

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

SUBVOXEL_OFFSETS_MM = (
    np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * SEGMENTATION_VOXEL_MM / 4
)
"""Points of a voxel, mm from its centre, whose mean signal is its partial volume."""


@frozen(eq=False)
class MixtureMap:
    """A head at 1 mm, RAS, as a map of tissue mixtures.

    index: (X, Y, Z) uint8, row of ``table`` (R, K), a mixture of the K tissues.
    fractions: (3, X, Y, Z), grey matter, white matter, and the brain with its CSF, averaged over
        the 2 mm of a voxel of the network.
    centre: mean voxel index of the brain.
    """

    index: Tensor
    table: NDArray[np.float32]
    fractions: Tensor
    centre: NDArray[np.float64]


@frozen(eq=False)
class Sample:
    """An image (X, Y, Z), 0 to 1, and its fractions (4, X, Y, Z) of background, grey matter,
    white matter and CSF, which sum to one."""

    image: Tensor
    fractions: Tensor


def load_mixture_map(path: Path, seed: int) -> MixtureMap:
    """Read a whole-head label map of about 1 mm; ``seed`` draws the fat between the muscles."""
    labels = read_label_map(path).labels
    box = ndimage.find_objects((labels > 0).astype(np.uint8))[0]
    labels = np.ascontiguousarray(labels[box])
    table, index = mixture_table(labels, np.ones(3), seed)
    bone_or_air = table[:, TISSUE_INDEX["bone"]] + table[:, TISSUE_INDEX["air"]] > 0.5
    brain = filled_brain_mask(np.isin(labels, BRAIN_LABELS), bone_or_air[index])
    grey = table[:, TISSUE_INDEX["grey"]] + table[:, TISSUE_INDEX["deep_grey"]]
    white = table[:, TISSUE_INDEX["white"]]
    fractions = np.stack([grey[index] * brain, white[index] * brain, brain.astype(np.float32)])
    return MixtureMap(
        torch.from_numpy(index.astype(np.uint8)),
        table,
        _centred_mean(torch.from_numpy(fractions)),
        np.argwhere(brain).mean(axis=0),
    )


def _centred_mean(volumes: Tensor) -> Tensor:
    """Mean of (C, X, Y, Z) with each neighbour: over two voxels backward, then forward."""
    for padding in ((1, 0), (0, 1)):
        volumes = F.avg_pool3d(F.pad(volumes, padding * 3, mode="replicate"), 2, stride=1)
    return volumes


def generate(
    head: MixtureMap, box_size: int, seed: list[int], *, free_contrast_probability: float = 0.25
) -> Sample:
    """A head in a box of ``box_size`` voxels of 2 mm; everything random comes from ``seed``.

    ``free_contrast_probability`` is that of a contrast drawn freely instead of a protocol's.
    """
    rng = np.random.default_rng(seed)
    noise = torch.Generator().manual_seed(int(rng.integers(2**63)))
    intensities = mixture_intensities(head.table, rng, free_contrast_probability)
    sharp = torch.from_numpy(intensities)[head.index.long()]
    coordinates, rotation = random_pose(head.centre, box_size, rng, noise)
    count = int(rng.choice((1, len(SUBVOXEL_OFFSETS_MM))))
    offsets = SUBVOXEL_OFFSETS_MM @ rotation.T
    image = sum(sample_volumes(sharp[None], coordinates, by)[0] for by in offsets[:count]) / count
    grey, white, brain = sample_volumes(head.fractions, coordinates)
    fractions = torch.stack([1 - brain, grey, white, (brain - grey - white).clamp(min=0)])
    image = add_lesions(torch.as_tensor(image), white, rng, noise)
    inside = image[brain > 0.5]
    image = acquire(image, float(inside.mean()) if len(inside) else 1.0, rng, noise)
    image, fractions = crop(image, fractions, coordinates, head.centre, head.index, rng)
    return Sample(torch.from_numpy(normalize(image.numpy(), rng)), fractions)


def mixture_intensities(
    table: NDArray[np.float32], rng: np.random.Generator, free_contrast_probability: float
) -> NDArray[np.float32]:
    """Intensity of every mixture: that of a T1w or T2w protocol, or drawn freely."""
    if rng.random() >= free_contrast_probability:
        protocol = random_protocol("T1w" if rng.random() < 0.5 else "T2w", rng)
        signals = np.array([float(tissue_signal(protocol, t)) for t in SIMULATED_TISSUES])
        signals[TISSUE_INDEX["fat"]] *= rng.uniform(0.1, 1.0)
        log_sd = 0.1
    else:
        signals = rng.uniform(0.0, 1.0, len(SIMULATED_TISSUES))
        log_sd = 0.2
    intensities = table @ (signals / signals.max())
    # Left and right have the same mixture, so most of the variation is the same on both sides.
    _, mixture = np.unique(table, axis=0, return_inverse=True)
    variation = rng.normal(0, log_sd, len(intensities))[mixture]
    intensities *= np.exp(variation + rng.normal(0, 0.02, len(intensities)))
    air = table[:, TISSUE_INDEX["air"]] > 0.5
    return np.where(air, 0.0, intensities).astype(np.float32)
