"""Rows of training of a slab, and what the rows of all modalities are made with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch
from attrs import frozen

from bids_ihf.lab.training.batch_sampling import STRIPPED_PROBABILITY
from bids_ihf.targets.profile import position_centre, slice_position

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.training.slab_scans import Slab
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.network.encoder import Encoder
    from bids_ihf.targets.profile import Profile

    Array = NDArray[np.float32]

UNKNOWN_MODALITY_PROBABILITY = 0.05
"""Probability that the network is not told the modality, as for targets of any."""


@frozen(eq=False)
class SlabRows:
    """Rows of training of one slab.

    scaled, matched: (N, 3, X, Y) source slices with their neighbours in network units, as they are
        and after the intensity curve.
    truth: (N, X, Y) slices by the target's scanner, in the units of its profile.
    mask: (N, X, Y) brain mask, 0 to 1; target: (N, E) embeddings.
    context: (N, C) by `context.slice_context`.
    """

    scaled: Array
    matched: Array
    truth: Array
    mask: Array
    target: Array
    context: Array
    modality: str


def stacked(slices: Array, index: NDArray[np.intp]) -> Array:
    """Slices (N, 3, X, Y) with their neighbours from (Z + 2, X, Y); ``index`` is that in Z."""
    return np.stack([slices[index + k] for k in range(3)], axis=1)


def vary_rows(rows: list[Array], rng: np.random.Generator) -> list[Array]:
    """Remove the background of some rows, and mirror some left to right."""
    count = len(rows[0])
    stripped = rng.random(count) < STRIPPED_PROBABILITY
    outside = stripped[:, None, None] & (rows[3] <= 0.5)
    mirrored = rng.random(count) < 0.5
    varied = []
    for number, array in enumerate(rows):
        spread = outside[:, None] if array.ndim == 4 else outside
        bare = array if number == 3 else np.where(spread, np.float32(-1), array)
        bare[mirrored] = np.flip(bare[mirrored], axis=-2)
        varied.append(bare)
    return varied


def with_embeddings(
    profile: Profile,
    data: Array,
    mask: Array,
    z: NDArray[np.float64],
    encoder: Encoder,
    modality: str,
) -> Profile:
    """A profile with the embeddings of the slices (Z + 2, X, Y) nearest to the centres of the
    positions in a slab, and beyond it those of the nearest position."""
    positions = np.unique(slice_position(z))
    index = np.unique([np.abs(z - position_centre(p)).argmin() for p in positions])
    stack = torch.from_numpy(stacked(data, index))
    with torch.inference_mode():
        embeddings = encoder.for_modality(modality).embed(
            stack, torch.from_numpy(mask[index, None])
        )
    centres = position_centre(profile.positions)
    nearest = np.abs(centres[:, None] - z[index]).argmin(axis=1)
    return attrs.evolve(profile, embeddings=embeddings.numpy()[nearest])


def with_embeddings_of(profile: Profile, embedded: Profile) -> Profile:
    """A profile with the embeddings of another one at the nearest positions."""
    distance = np.abs(profile.positions[:, None] - embedded.positions)
    return attrs.evolve(profile, embeddings=embedded.embeddings[distance.argmin(axis=1)])


def slab_at(other: TemplateSubject, slab: Slab, z: float) -> Slab:
    """The slab of another subject whose first slice is at an axial coordinate (mm), or the nearest
    that lies in the brain."""
    usable = np.flatnonzero((other.mask > 127).any(axis=(1, 2)))
    length = slab.stop - slab.first
    nearest = int(np.abs(other.z - z).argmin())
    first = int(np.clip(nearest, usable[0], max(usable[-1] + 1 - length, usable[0])))
    return attrs.evolve(slab, first=first, stop=first + length)
