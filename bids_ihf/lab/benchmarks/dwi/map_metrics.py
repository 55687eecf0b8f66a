"""Differences between the maps of two series of a subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.dwi.maps import Maps

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

REGION_SIDE_VOXELS = 4
"""Side of a cubic region: 12 mm."""

MIN_REGION_VOXELS = 20
"""Voxels of nervous tissue that a region needs."""

NODDI_SLICE_STRIDE, MIN_NODDI_REGION_VOXELS = 3, 8
"""NODDI takes a hundred times as long as the tensor: it is fitted in every third slice only, where
a region needs fewer voxels."""

BY_VOXEL = " by voxel"
"""Ends the name of a map whose single voxels are compared."""

PRINCIPAL_DIRECTION = "direction"
MIN_DIRECTED_FA = 0.25
"""FA above which the principal direction is meaningful."""


def noddi_mask(mask: Mask) -> Mask:
    """The slices of a mask in which NODDI is fitted."""
    sparse = np.zeros_like(mask)
    sparse[..., ::NODDI_SLICE_STRIDE] = mask[..., ::NODDI_SLICE_STRIDE]
    return sparse


def cubic_regions(mask: Mask, min_voxels: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Labels (X, Y, Z) of the cubes of a mask, and the labels with at least so many voxels."""
    index = np.indices(mask.shape) // REGION_SIDE_VOXELS
    cubes = tuple(n // REGION_SIDE_VOXELS + 1 for n in mask.shape)
    labels = np.where(mask, np.ravel_multi_index(tuple(index), cubes) + 1, 0)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    return labels, np.flatnonzero(counts >= min_voxels)


def region_means(values: Array, labels: NDArray[np.intp], selected: NDArray[np.intp]) -> Array:
    """Mean of a map in each of the selected regions."""
    sums = np.bincount(labels.ravel(), values.ravel().astype(np.float64))
    counts = np.bincount(labels.ravel())
    return np.asarray(sums[selected] / counts[selected], dtype=np.float32)


def map_differences(
    maps: Maps, reference: Maps, neural: Mask, white: Mask
) -> Iterator[tuple[str, Array]]:
    """Pairs of a map's name and its differences to the reference.

    By its name: differences of the means of regions of nervous tissue (FA, MD) or white matter
    (NDI, ODI); with BY_VOXEL: of single voxels, which differ between two scans by one scanner,
    too; PRINCIPAL_DIRECTION: angles (degrees) between principal directions in white matter.
    """
    of_reference = reference.scalars()
    for name, values in maps.scalars().items():
        is_tensor = name in ("FA", "MD")
        mask = neural if is_tensor else noddi_mask(white)
        min_voxels = MIN_REGION_VOXELS if is_tensor else MIN_NODDI_REGION_VOXELS
        labels, selected = cubic_regions(mask, min_voxels)
        means, reference_means = (
            region_means(scalar, labels, selected) for scalar in (values, of_reference[name])
        )
        yield name, means - reference_means
        yield name + BY_VOXEL, (values - of_reference[name])[mask]
    directed = white & (reference.fa > MIN_DIRECTED_FA)
    cosine = np.abs((maps.direction * reference.direction).sum(axis=-1))[directed]
    yield PRINCIPAL_DIRECTION, np.degrees(np.arccos(np.clip(cosine, 0, 1)))
