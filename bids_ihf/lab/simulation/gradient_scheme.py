"""Gradient tables of simulated protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from nibabel.affines import voxel_sizes

from bids_ihf.bids.gradient_tables import GradientTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def hemisphere_directions(count: int) -> NDArray[np.float64]:
    """Evenly spread axes (count, 3): a Fibonacci lattice over half a sphere."""
    index = np.arange(count)
    z = 1 - (index + 0.5) / count
    turn = index * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)


def gradient_table(shells: Mapping[float, int], seed: int) -> GradientTable:
    """A table with so many directions at each b-value (s/mm2; 0 for unweighted volumes).

    Every shell's directions are turned at random by ``seed``, as no two vendors have the same.
    Unweighted volumes are spread over the series, the first of them at its start.
    """
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng([seed, 31])
    values, vectors = [], []
    for b, count in shells.items():
        if b > 0:
            turned = hemisphere_directions(count) @ Rotation.random(rng=rng).as_matrix()
            values += [float(b)] * count
            vectors += list(turned)
    order = rng.permutation(len(values))
    bvals = np.asarray(values)[order]
    bvecs = np.asarray(vectors).reshape(-1, 3)[order]
    unweighted = int(shells.get(0, 0))
    places = np.linspace(0, len(bvals), unweighted, endpoint=False).astype(int)
    return GradientTable(
        np.insert(bvals, places, 0.0), np.insert(bvecs, places, np.zeros(3), axis=0)
    )


def fsl_directions(
    vectors: NDArray[np.float64], affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    """World directions (N, 3), RAS, as a ``.bvec`` file states them for an image.

    BIDS follows FSL: components along the image's axes, the first one with its sign turned where
    the affine (4, 4) has a positive determinant.
    """
    axes = affine[:3, :3] / voxel_sizes(affine)
    stated = vectors @ np.linalg.inv(axes).T
    if np.linalg.det(axes) > 0:
        stated = stated * [-1, 1, 1]
    return np.asarray(stated + 0.0)


def fsl_text(gradients: GradientTable) -> tuple[bytes, bytes]:
    """The bytes of the ``.bval`` and ``.bvec`` files."""
    bval = " ".join(f"{value:g}" for value in gradients.bvals) + "\n"
    bvec = "".join(
        " ".join(f"{value:.6f}" for value in row + 0.0) + "\n" for row in gradients.bvecs.T
    )
    return bval.encode(), bvec.encode()
