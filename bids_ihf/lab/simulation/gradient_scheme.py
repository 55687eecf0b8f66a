"""Gradient tables of simulated protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from bids_ihf.bids.gradient_tables import GradientTable
from bids_ihf.io.affines import voxel_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def hemisphere_directions(count: int) -> NDArray[np.float64]:
    """Evenly distributed unit directions (count, 3): a Fibonacci lattice on half a sphere.

    >>> directions = hemisphere_directions(30)
    >>> bool(np.allclose(np.linalg.norm(directions, axis=1), 1) and (directions[:, 2] > 0).all())
    True
    """
    index = np.arange(count)
    z = 1 - (index + 0.5) / count
    azimuth = index * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=1)


def gradient_table(shells: Mapping[float, int], seed: int) -> GradientTable:
    """A table with a number of volumes at each b-value (s/mm2; 0 for unweighted volumes).

    ``seed`` rotates the directions of each shell and draws the order of the volumes.  Unweighted
    volumes are distributed over the series, the first of them at its start.
    """
    rng = np.random.default_rng([seed, 31])
    values, vectors = [], []
    for b, count in shells.items():
        if b > 0:
            rotated = hemisphere_directions(count) @ Rotation.random(rng=rng).as_matrix()
            values += [float(b)] * count
            vectors += list(rotated)
    order = rng.permutation(len(values))
    bvals = np.asarray(values)[order]
    bvecs = np.asarray(vectors).reshape(-1, 3)[order]
    unweighted = int(shells.get(0, 0))
    positions = np.linspace(0, len(bvals), unweighted, endpoint=False).astype(int)
    return GradientTable(
        np.insert(bvals, positions, 0.0), np.insert(bvecs, positions, np.zeros(3), axis=0)
    )


def fsl_directions(
    directions: NDArray[np.float64], affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    """World directions (N, 3), RAS, as the ``.bvec`` file of an image states them.

    BIDS follows FSL: components along the axes of the image, the first one negated where the
    affine (4, 4) has a positive determinant.

    >>> fsl_directions(np.array([[0.6, 0.0, 0.8]]), np.diag([2.0, 2.0, 2.0, 1.0]))
    array([[-0.6,  0. ,  0.8]])
    """
    axes = affine[:3, :3] / voxel_sizes(affine)
    components = directions @ np.linalg.inv(axes).T
    if np.linalg.det(axes) > 0:
        components = components * [-1, 1, 1]
    return np.asarray(components + 0.0)


def fsl_text(gradients: GradientTable) -> tuple[bytes, bytes]:
    """Contents of the ``.bval`` and ``.bvec`` files."""
    bval = " ".join(f"{value:g}" for value in gradients.bvals) + "\n"
    bvec = "".join(
        " ".join(f"{value:.6f}" for value in row + 0.0) + "\n" for row in gradients.bvecs.T
    )
    return bval.encode(), bvec.encode()
