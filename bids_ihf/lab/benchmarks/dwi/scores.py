"""How far the maps of one series are from those of another of the same person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.dwi.maps import Maps

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

SIDE = 4
"""Voxels along each side of a region: 12 mm."""

FEWEST = 20
"""Voxels of nervous tissue that a region needs."""

EVERY, FEWEST_THIN = 3, 8
"""NODDI takes a hundred times as long as the tensor: it is fitted in every third slice only, where
a region needs so many voxels."""

VOXELS = " by voxel"
DIRECTION = "direction"
DIRECTED = 0.25
"""FA from which on a principal direction means something."""


def thinned(mask: Mask) -> Mask:
    """Every EVERY-th slice of a mask, where NODDI is fitted."""
    out = np.zeros_like(mask)
    out[..., ::EVERY] = mask[..., ::EVERY]
    return out


def regions(mask: Mask, fewest: int = FEWEST) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Labels (X, Y, Z) of the cubes of a mask, and those labels that hold enough of it."""
    index = np.indices(mask.shape) // SIDE
    cube = np.ravel_multi_index(tuple(index), tuple(n // SIDE + 1 for n in mask.shape))
    labels = np.where(mask, cube + 1, 0)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    return labels, np.flatnonzero(counts >= fewest)


def region_means(values: Array, labels: NDArray[np.intp], kept: NDArray[np.intp]) -> Array:
    """Mean of a map in each region."""
    sums = np.bincount(labels.ravel(), values.ravel().astype(np.float64))
    counts = np.bincount(labels.ravel())
    return np.asarray(sums[kept] / counts[kept], dtype=np.float32)


def score(found: Maps, target: Maps, neural: Mask, white: Mask) -> Iterator[tuple[str, Array]]:
    """Pairs of (map, differences to the target).

    A map by its name: differences of the means of regions of nervous tissue (FA, MD) or white
    matter (NDI, ODI); with VOXELS behind it: of single voxels, which a second scan by the same
    scanner changes too; DIRECTION: angles (degrees) between principal directions in white matter.
    """
    tensor, neurites = neural, thinned(white)
    theirs = target.named()
    for name, values in found.named().items():
        inside, fewest = (tensor, FEWEST) if name in ("FA", "MD") else (neurites, FEWEST_THIN)
        labels, kept = regions(inside, fewest)
        one, other = (region_means(m, labels, kept) for m in (values, theirs[name]))
        yield name, one - other
        yield name + VOXELS, (values - theirs[name])[inside]
    where = white & (target.fa > DIRECTED)
    cosine = np.abs((found.direction * target.direction).sum(axis=-1))[where]
    yield DIRECTION, np.degrees(np.arccos(np.clip(cosine, 0, 1)))
