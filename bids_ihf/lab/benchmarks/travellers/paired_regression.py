"""Regressions trained on the pairs of other subjects: what a harmonization could gain.

They know what no method here is given: how other people look on both scanners, voxel by voxel.
The polynomial bounds every intensity curve; gradient boosting also sees the surroundings of a
voxel, at scales from sharpness to bias field, and its position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.targets.network_input import NetworkInput

POLYNOMIAL_DEGREE = 5
GAUSSIAN_SCALES_MM = (0.7, 1.5, 3.0, 6.0, 12.0)
"""Standard deviations of the in-plane Gaussians whose results are features."""

MAX_PAIR_VOXELS = 40_000
"""Training voxels of one subject's pair."""


def voxel_features(on_grid: NetworkInput, slices: NDArray[np.intp]) -> NDArray[np.float32]:
    """Features (X, Y, S, F) of slices: intensity in the scan's range, the same at
    GAUSSIAN_SCALES_MM, and position."""
    data = on_grid.scale.normalize(on_grid.data[:, :, slices]) + 1
    data = np.where(on_grid.brain[:, :, slices], data, np.float32(0))
    smooth = [ndimage.gaussian_filter(data, (scale, scale, 0)) for scale in GAUSSIAN_SCALES_MM]
    x, y = np.meshgrid(*map(np.arange, data.shape[:2]), indexing="ij")
    position = [np.broadcast_to(axis[..., None], data.shape) for axis in (x, y)]
    z = np.broadcast_to(on_grid.z[slices], data.shape)
    return np.stack([data, *smooth, *position, z], axis=-1).astype(np.float32)


def predict_from_pairs(
    source: NetworkInput,
    slices: NDArray[np.intp],
    pairs: Sequence[tuple[NetworkInput, NetworkInput]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Slices (X, Y, S) of a scan by the polynomial and by gradient boosting, 0 outside the brain,
    trained on the same slices of pairs of scans by its scanner and the target's.

    Raises
    ------
    ValueError
        No pair shows brain in these slices.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    features, intensities = _training_voxels(slices, pairs)
    brain = source.brain[:, :, slices]
    seen = voxel_features(source, slices)[brain]
    polynomial = np.polynomial.Polynomial.fit(features[:, 0], intensities, POLYNOMIAL_DEGREE)
    with threadpool_limits(1):  # threads of OpenMP wait for each other on a busy machine
        boosting = HistGradientBoostingRegressor(random_state=0).fit(features, intensities)
    low, high = polynomial.domain
    by_intensity, by_surroundings = (np.zeros(brain.shape, np.float32) for _ in range(2))
    by_intensity[brain] = polynomial(np.clip(seen[:, 0], low, high))
    by_surroundings[brain] = boosting.predict(seen)
    return by_intensity, by_surroundings


def _training_voxels(
    slices: NDArray[np.intp], pairs: Sequence[tuple[NetworkInput, NetworkInput]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (N, F) and the target scanner's intensities (N,) of voxels in the brain."""
    rng = np.random.default_rng(0)
    features, intensities = [], []
    for source, target in pairs:
        brain = source.brain[:, :, slices] & target.brain[:, :, slices]
        count = int(brain.sum())
        chosen = rng.choice(count, min(count, MAX_PAIR_VOXELS), replace=False)
        features.append(voxel_features(source, slices)[brain][chosen])
        intensities.append(target.data[:, :, slices][brain][chosen])
    if not sum(map(len, features)):
        raise ValueError("no other subject shows brain in these slices")
    return np.concatenate(features), np.concatenate(intensities)
