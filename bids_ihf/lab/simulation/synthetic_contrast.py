"""Heads painted in any contrast, posed, cut and spoiled, for learning where the brain is.

After Billot et al. 2023 (Med Image Anal 86:102789, SynthSeg): what is never twice the same in
contrast, shape and quality teaches anatomy alone.  Half of the contrasts are those of simulated
protocols, the others drawn freely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_ihf.lab.simulation.anatomy import largest_head
from bids_ihf.lab.simulation.label_mixtures import BRAIN_LABELS, mixture_table
from bids_ihf.lab.simulation.protocol import random_protocol, tissue_signal
from bids_ihf.lab.simulation.reference_segmentation import filled_brain_mask
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX
from bids_ihf.preprocessing.intensity import unit_range
from bids_ihf.preprocessing.segmentation import SEGMENTATION_VOXEL_MM

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

SUBVOXEL_OFFSETS_MM = (
    np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * SEGMENTATION_VOXEL_MM / 4
)
"""Where a voxel is sampled, mm from its middle, for its mean signal."""


@frozen(eq=False)
class MixtureMap:
    """A person's whole head at 1 mm, RAS.

    index: (X, Y, Z) uint8, row of ``table`` (R, K), a mixture of the K tissues.
    shares: (3, X, Y, Z), grey matter, white matter, and the brain with its fluid, around each
        voxel: the mean over the 2 mm that a voxel of the box will hold.
    centre: voxel of the brain's middle.
    """

    index: Tensor
    table: NDArray[np.float32]
    shares: Tensor
    centre: NDArray[np.float64]


@frozen(eq=False)
class Sample:
    """An image (X, Y, Z), 0 to 1, and what it shows (4, X, Y, Z): shares that add up to one of
    outside, grey matter, white matter and fluid."""

    image: Tensor
    truth: Tensor


def load_mixture_map(path: Path, seed: int) -> MixtureMap:
    """Read a whole-head label map of about 1 mm; ``seed`` draws the fat between the muscles."""
    import nibabel as nib

    image = nib.as_closest_canonical(nib.load(path))
    labels = largest_head(np.asanyarray(image.dataobj).astype(np.int16))
    box = ndimage.find_objects((labels > 0).astype(np.uint8))[0]
    labels = np.ascontiguousarray(labels[box])
    table, index = mixture_table(labels, np.ones(3), seed)
    brain = np.isin(labels, BRAIN_LABELS)
    hard = table[:, TISSUE_INDEX["bone"]] + table[:, TISSUE_INDEX["air"]] > 0.5
    region = filled_brain_mask(brain, hard[index])
    grey = table[:, TISSUE_INDEX["grey"]] + table[:, TISSUE_INDEX["deep_grey"]]
    white = table[:, TISSUE_INDEX["white"]]
    shares = np.stack([grey[index] * region, white[index] * region, region.astype(np.float32)])
    return MixtureMap(
        torch.from_numpy(index.astype(np.uint8)),
        table,
        _mean_of_two(_mean_of_two(torch.from_numpy(shares), ahead=False), ahead=True),
        np.argwhere(region).mean(axis=0),
    )


def _mean_of_two(volumes: Tensor, *, ahead: bool) -> Tensor:
    """Mean of each 2 x 2 x 2 voxels of (C, X, Y, Z), with those behind or ahead."""
    edges = (0, 1) if ahead else (1, 0)
    return F.avg_pool3d(F.pad(volumes, edges * 3, mode="replicate"), 2, stride=1)


def generate(head: MixtureMap, side: int, seed: list[int], *, free: float = 0.25) -> Sample:
    """The head in a box of ``side`` voxels of 2 mm; all that is random comes from ``seed``.

    ``free`` is the chance of a contrast that is no protocol's.
    """
    rng = np.random.default_rng(seed)
    noise = torch.Generator().manual_seed(int(rng.integers(2**63)))
    levels = mixture_intensities(head.table, rng, free)
    painted = torch.from_numpy(levels)[head.index.long()]
    places, turn = random_pose(head, side, rng, noise)
    count = int(rng.choice((1, len(SUBVOXEL_OFFSETS_MM))))
    offsets = SUBVOXEL_OFFSETS_MM @ turn.T
    image = sum(_sampled(painted[None], places, by)[0] for by in offsets[:count]) / count
    grey, white, region = _sampled(head.shares, places, np.zeros(3))
    truth = torch.stack([1 - region, grey, white, (region - grey - white).clamp(min=0)])
    image = add_lesions(torch.as_tensor(image), white, rng, noise)
    inside = image[region > 0.5]
    image = acquire(image, float(inside.mean()) if len(inside) else 1.0, rng, noise)
    image, truth = crop(image, truth, places, head, rng)
    return Sample(torch.from_numpy(normalise(image.numpy(), rng)), truth)


def mixture_intensities(
    table: NDArray[np.float32], rng: np.random.Generator, free: float
) -> NDArray[np.float32]:
    """Intensity of every mixture: of a T1w or T2w protocol, or anything at all."""
    if rng.random() >= free:
        protocol = random_protocol("T1w" if rng.random() < 0.5 else "T2w", rng)
        signals = np.array([float(tissue_signal(protocol, each)) for each in SIMULATED_TISSUES])
        signals[TISSUE_INDEX["fat"]] *= rng.uniform(0.1, 1.0)
        spread = 0.1
    else:
        signals = rng.uniform(0.0, 1.0, len(SIMULATED_TISSUES))
        spread = 0.2
    levels = table @ (signals / signals.max())
    _, kind = np.unique(table, axis=0, return_inverse=True)  # left and right are alike
    levels *= np.exp(rng.normal(0, spread, len(levels))[kind] + rng.normal(0, 0.02, len(levels)))
    air = table[:, TISSUE_INDEX["air"]] > 0.5
    return np.where(air, 0.0, levels).astype(np.float32)


def random_pose(
    head: MixtureMap, side: int, rng: np.random.Generator, noise: torch.Generator
) -> tuple[Tensor, NDArray[np.float64]]:
    """Where in the head, in voxels of 1 mm, each voxel of the box lies (S, S, S, 3), and the
    linear part of that map.

    Rotated by up to 45 degrees and at times by right angles or mirrored, as wrong headers do;
    larger or smaller, bent by a few mm, off the centre.
    """
    reach = 45.0 if rng.random() < 0.3 else 15.0
    turn = Rotation.from_euler("xyz", rng.uniform(-reach, reach, 3), degrees=True).as_matrix()
    turn = turn @ np.diag(np.exp(rng.uniform(-0.22, 0.22) + rng.normal(0, 0.05, 3)))
    if rng.random() < 0.5:
        turn = turn @ np.diag([-1.0, 1.0, 1.0])
    if rng.random() < 0.1:
        turn = turn @ (np.eye(3)[rng.permutation(3)] * rng.choice((-1.0, 1.0), 3))
    shift = rng.normal(0, 35.0 if rng.random() < 0.3 else 8.0, 3)
    steps = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    box = (
        torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1)
        * SEGMENTATION_VOXEL_MM
    )
    matrix = torch.from_numpy(turn.astype(np.float32))
    places = box @ matrix.T + torch.from_numpy((head.centre + shift).astype(np.float32))
    for knots, most in ((5, 5.0), (11, 2.5)):
        knot = torch.randn(1, 3, knots, knots, knots, generator=noise) * rng.uniform(0, most)
        bend = F.interpolate(knot, (side,) * 3, mode="trilinear", align_corners=True)
        places += bend[0].permute(1, 2, 3, 0)
    return places, turn


def _sampled(volumes: Tensor, places: Tensor, offset: NDArray[np.float64]) -> Tensor:
    """Linear interpolation of (C, X, Y, Z) at voxel coordinates (S, S, S, 3); 0 outside."""
    size = torch.tensor(volumes.shape[1:], dtype=torch.float32)
    unit = 2 * (places + torch.from_numpy(offset.astype(np.float32))) / (size - 1) - 1
    return F.grid_sample(volumes[None], unit.flip(-1)[None], align_corners=True)[0]


def add_lesions(
    image: Tensor, white: Tensor, rng: np.random.Generator, noise: torch.Generator
) -> Tensor:
    """Now and then, patches of white matter in another intensity."""
    if rng.random() > 0.3:
        return image
    coarse = torch.randn(1, 1, *(n // 3 for n in image.shape), generator=noise)
    smooth = F.interpolate(coarse, image.shape, mode="trilinear", align_corners=True)[0, 0]
    share = ((smooth - rng.uniform(1.3, 2.0)) * 4).clamp(0, 1) * white
    return image + share * (float(rng.uniform(0, 1)) * image.max() - image)


def acquire(
    image: Tensor, typical: float, rng: np.random.Generator, noise: torch.Generator
) -> Tensor:
    """Texture, coil fields, blur, thick slices, and noise relative to the brain's ``typical``
    intensity."""
    shape = image.shape
    image = image * (1 + rng.uniform(0, 0.08) * torch.randn(shape, generator=noise))
    knots = torch.randn(1, 1, 4, 4, 4, generator=noise) * rng.uniform(0, 0.3)
    field = F.interpolate(knots, shape, mode="trilinear", align_corners=True)[0, 0]
    image = image * field.exp()
    if rng.random() < 0.4:
        sigma = rng.uniform(0, 0.7)
        image = torch.from_numpy(ndimage.gaussian_filter(image.numpy(), sigma))
    if rng.random() < 0.25:
        axis, thick = int(rng.integers(3)), rng.uniform(1.0, 3.0)
        sizes = [round(n / thick) if k == axis else n for k, n in enumerate(shape)]
        slices = F.interpolate(image[None, None], sizes, mode="area")
        image = F.interpolate(slices, shape, mode="trilinear")[0, 0]
    level = typical * float(np.exp(rng.uniform(np.log(0.01), np.log(0.12))))
    real, imaginary = torch.randn(2, *shape, generator=noise) * level
    return torch.hypot(image + real, imaginary)


def crop(
    image: Tensor, truth: Tensor, places: Tensor, head: MixtureMap, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Stripped, defaced, emptied around, or with little of the head in the field of view."""
    choice, outside = rng.random(), truth[0]
    if choice < 0.25:
        rim = float(rng.uniform(0.0, 3.0))
        away = ndimage.distance_transform_edt(outside.numpy() > 0.5) * SEGMENTATION_VOXEL_MM
        image = torch.where(torch.from_numpy(away <= rim), image, 0.0)
    elif choice < 0.4:
        slope = np.deg2rad(rng.uniform(0, 60))
        forward = torch.tensor([0.0, np.cos(slope), -np.sin(slope)], dtype=torch.float32)
        ahead = (places - torch.from_numpy(head.centre.astype(np.float32))) @ forward
        image = torch.where((ahead > rng.uniform(45, 80)) & (outside > 0.98), 0.0, image)
    elif choice < 0.55:
        air = _sampled((head.index == 0).float()[None], places, np.zeros(3))[0] > 0.5
        image = torch.where(air, 0.0, image)
    if rng.random() < 0.2:
        axis = int(rng.integers(3))
        seen = _field_of_view(outside, axis, rng)
        image = torch.where(seen, image, 0.0)
        truth = torch.where(seen, truth, torch.tensor([1.0, 0, 0, 0])[:, None, None, None])
    return image, truth


def _field_of_view(outside: Tensor, axis: int, rng: np.random.Generator) -> Tensor:
    """Slices along an axis that are measured: at least 20 mm where there is brain."""
    sides = tuple(k for k in range(3) if k != axis)
    filled = np.flatnonzero((outside < 0.5).any(dim=sides[1]).any(dim=sides[0]).numpy())
    seen = torch.zeros(outside.shape[axis], dtype=torch.bool)
    if filled.size:
        first = int(rng.integers(filled[0] - 15, max(filled[-1] - 10, filled[0] + 1)))
        seen[max(first, 0) : first + int(rng.integers(15, 80))] = True
    return seen.reshape([-1 if k == axis else 1 for k in range(3)])


def normalise(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """In the range the network is shown, with a gain and a gamma of chance."""
    scaled = unit_range(image) * np.float32(rng.uniform(0.6, 1.1))
    return np.clip(scaled, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.2)))
