"""Lesions of white matter, with the sizes and positions of multiple sclerosis and of ageing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve
from scipy import ndimage

from bids_ihf.lab.simulation.tissues import TISSUE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy

    Box = tuple[slice, slice, slice]

LESION_RADII_MM = (1.5, 6.0)
"""Smallest and largest radius, mm."""

PERIVENTRICULAR_MM = 12.0
"""Distance from the ventricles within which two thirds of the lesions are centred, mm."""

PERIVENTRICULAR_FRACTION = 2 / 3

VENTRICLE_DEPTH_MM = 18.0
"""CSF deeper in the brain than this is that of the ventricles, mm."""

MIN_CENTRE_FRACTION = 0.9
"""White-matter fraction of the voxels that may be the centre of a lesion."""

MAX_LESION_FRACTION = 0.85
"""Largest fraction of white matter that a lesion replaces."""


def with_lesions(
    anatomy: Anatomy, seed: int, count: int = 12
) -> tuple[Anatomy, NDArray[np.bool_]]:
    """Add lesions to an anatomy; also returns their mask (X, Y, Z), more than half a voxel.

    Two thirds of the centres lie within 12 mm of the ventricles, the rest anywhere in white
    matter; radii are log-uniform between 1.5 and 6 mm, outlines irregular, edges soft.  Lesions
    replace white matter only.
    """
    rng = np.random.default_rng([seed, 41])
    white = anatomy.fraction("white")
    extent = np.zeros(white.shape, dtype=np.float32)
    for centre in _lesion_centres(anatomy, white, rng, count):
        radius = float(np.exp(rng.uniform(*np.log(LESION_RADII_MM))))
        box = _box_around(centre, 1.5 * radius, anatomy)
        blob = _irregular_ball(box, centre, radius, anatomy.zooms, rng)
        extent[box] = np.maximum(extent[box], blob)
    lesion = MAX_LESION_FRACTION * extent * white
    fractions = anatomy.fractions.clone()
    fractions[TISSUE_INDEX["white"]] -= fractions.new_tensor(lesion)
    fractions[TISSUE_INDEX["lesion"]] += fractions.new_tensor(lesion)
    return evolve(anatomy, fractions=fractions), lesion > 0.5


def _lesion_centres(
    anatomy: Anatomy, white: NDArray[np.float32], rng: np.random.Generator, count: int
) -> NDArray[np.intp]:
    """Voxels (count, 3) of white matter."""
    brain = anatomy.brain.numpy()
    depth = ndimage.distance_transform_edt(brain, sampling=anatomy.zooms)
    ventricles = (depth > VENTRICLE_DEPTH_MM) & (anatomy.fraction("csf") > 0.5)
    candidates = np.argwhere((white > MIN_CENTRE_FRACTION) & brain)
    if not ventricles.any():
        return rng.choice(candidates, count)
    distance = ndimage.distance_transform_edt(~ventricles, sampling=anatomy.zooms)
    periventricular = candidates[distance[tuple(candidates.T)] < PERIVENTRICULAR_MM]
    near_count = min(round(count * PERIVENTRICULAR_FRACTION), len(periventricular))
    near = rng.choice(periventricular, near_count)
    return np.concatenate([near, rng.choice(candidates, count - near_count)])


def _box_around(centre: NDArray[np.intp], radius_mm: float, anatomy: Anatomy) -> Box:
    margins = np.ceil(radius_mm / anatomy.zooms)
    x, y, z = (
        slice(max(0, int(c - margin)), min(n, int(c + margin) + 1))
        for c, margin, n in zip(centre, margins, anatomy.shape, strict=True)
    )
    return x, y, z


def _irregular_ball(
    box: Box,
    centre: NDArray[np.intp],
    radius_mm: float,
    zooms: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """0 to 1: a ball whose outline smooth noise moves by a third of its radius."""
    axes = [
        (np.arange(voxels.start, voxels.stop) - c) * zoom
        for voxels, c, zoom in zip(box, centre, zooms, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    stretch = np.exp(rng.normal(0, 0.2, 3))
    distance = np.sqrt((x * stretch[0]) ** 2 + (y * stretch[1]) ** 2 + (z * stretch[2]) ** 2)
    noise = ndimage.gaussian_filter(rng.standard_normal(distance.shape), 1.5 / zooms)
    noise /= max(float(noise.std()), 1e-6)
    edge = radius_mm * (1 + 0.33 * noise / 2)
    return np.clip(edge - distance + 0.5, 0, 1).astype(np.float32)
