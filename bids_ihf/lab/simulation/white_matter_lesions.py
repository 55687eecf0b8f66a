"""Lesions of white matter, of the size and place that multiple sclerosis and age give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve
from scipy import ndimage

from bids_ihf.lab.simulation.tissues import TISSUE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy

LESION_RADII_MM = (1.5, 6.0)
PERIVENTRICULAR_MM = 12.0
MIN_CENTRE_FRACTION = 0.9
"""White-matter fraction of a lesion's centre."""

MAX_LESION_FRACTION = 0.85
"""Most of a voxel that a lesion takes: some white matter is left inside."""

Box = tuple[slice, slice, slice]


def with_lesions(
    anatomy: Anatomy, seed: int, count: int = 12
) -> tuple[Anatomy, NDArray[np.bool_]]:
    """The same person with lesions, and where they are (more than half of a voxel).

    Two thirds of the centres lie within 12 mm of CSF deep in the brain, the rest anywhere in white
    matter; radii are log-uniform between 1.5 and 6 mm, outlines irregular, edges soft.  Lesions
    replace white matter only.
    """
    rng = np.random.default_rng([seed, 41])
    white = anatomy.fractions[TISSUE_INDEX["white"]].numpy()
    share = np.zeros(white.shape, dtype=np.float32)
    for centre in _centres(anatomy, white, rng, count):
        radius = float(np.exp(rng.uniform(*np.log(LESION_RADII_MM))))
        box = _box(centre, 1.5 * radius, anatomy)
        blob = _blob(box, centre, radius, anatomy.zooms, rng)
        share[box] = np.maximum(share[box], blob)
    lesion = MAX_LESION_FRACTION * share * white
    fractions = anatomy.fractions.clone()
    fractions[TISSUE_INDEX["white"]] -= fractions.new_tensor(lesion)
    fractions[TISSUE_INDEX["lesion"]] += fractions.new_tensor(lesion)
    return evolve(anatomy, fractions=fractions), lesion > 0.5


def _centres(
    anatomy: Anatomy, white: NDArray[np.float32], rng: np.random.Generator, count: int
) -> NDArray[np.intp]:
    """Voxels (count, 3) of white matter."""
    brain = anatomy.brain.numpy()
    deep = ndimage.distance_transform_edt(brain, sampling=anatomy.zooms) > 18.0
    csf = deep & (anatomy.fractions[TISSUE_INDEX["csf"]].numpy() > 0.5)
    candidates = np.argwhere((white > MIN_CENTRE_FRACTION) & brain)
    if not csf.any():
        return rng.choice(candidates, count)
    away = ndimage.distance_transform_edt(~csf, sampling=anatomy.zooms)
    near = candidates[away[tuple(candidates.T)] < PERIVENTRICULAR_MM]
    first = rng.choice(near, min(round(count * 2 / 3), len(near)))
    return np.concatenate([first, rng.choice(candidates, count - len(first))])


def _box(centre: NDArray[np.intp], reach: float, anatomy: Anatomy) -> Box:
    sides = [
        slice(max(0, int(c - np.ceil(reach / z))), min(n, int(c + np.ceil(reach / z)) + 1))
        for c, z, n in zip(centre, anatomy.zooms, anatomy.shape, strict=True)
    ]
    return sides[0], sides[1], sides[2]


def _blob(
    box: Box,
    centre: NDArray[np.intp],
    radius: float,
    zooms: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """0 to 1: a ball whose outline smooth noise moves by a third of its radius."""
    axes = [
        (np.arange(side.start, side.stop) - c) * z
        for side, c, z in zip(box, centre, zooms, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    stretch = np.exp(rng.normal(0, 0.2, 3))
    distance = np.sqrt((x * stretch[0]) ** 2 + (y * stretch[1]) ** 2 + (z * stretch[2]) ** 2)
    noise = ndimage.gaussian_filter(rng.standard_normal(distance.shape), 1.5 / zooms)
    noise /= max(float(noise.std()), 1e-6)
    edge = radius * (1 + 0.33 * noise / 2)
    return np.clip(edge - distance + 0.5, 0, 1).astype(np.float32)
