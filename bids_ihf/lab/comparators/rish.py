"""RISH: rotation-invariant spherical harmonics features scaled from one scanner to another.

After Mirzaalian et al. (2016, NeuroImage 135:311) and Cetin Karayumak et al. (2019, NeuroImage
184:180), reimplemented with dipy's harmonics: the energy of each order, averaged over matched
subjects in a common space, gives a map of scale factors by which a subject's coefficients are
multiplied.  The common space here is the bounding box of the brain, since the simulated subjects
share a field of view; the published method registers them nonlinearly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy.ndimage import gaussian_filter, map_coordinates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.dwi.shells import Shell
    from bids_ihf.lab.benchmarks.dwi.traveling_subjects import DiffusionScan

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

MAX_ORDER, SH_SMOOTHING = 4, 0.0005
"""Order and Laplace-Beltrami regularization of the harmonics; with 24 directions a stronger one
would shrink order 2 by some per cent."""

COMMON_SPACE_SHAPE = (28, 34, 10)
"""Cells over the bounding box of a brain: about 6 mm, 5 mm across a slab."""

FEATURE_SMOOTHING_SD_CELLS = 1.0
"""Standard deviation of the smoothing of the features in the common space."""

SCALE_LIMITS = (0.5, 2.0)
"""Limits of the scale factors."""

SH_ORDERS = range(0, MAX_ORDER + 1, 2)


@frozen(eq=False)
class RishFeatures:
    """Sums over subjects of a scanner's smoothed features (shells, orders, X, Y, Z)."""

    sums: NDArray[np.float64]


def measure_features(scan: DiffusionScan, brain: Mask) -> RishFeatures:
    """The features of one series in the common space."""
    cells = np.rint(_common_space(brain)).astype(np.intp)
    index = np.ravel_multi_index(tuple(cells), COMMON_SPACE_SHAPE)
    size = int(np.prod(COMMON_SPACE_SHAPE))
    sums = [
        [
            gaussian_filter(
                np.bincount(index, energy, size).reshape(COMMON_SPACE_SHAPE),
                FEATURE_SMOOTHING_SD_CELLS,
            )
            for energy in _energies(_coefficients(scan, shell, brain))
        ]
        for shell in scan.shells[1:]
    ]
    return RishFeatures(np.asarray(sums))


def pool_features(features: Sequence[RishFeatures]) -> RishFeatures:
    """The features of several subjects together."""
    return RishFeatures(np.sum([subject.sums for subject in features], axis=0))


def harmonize(
    scan: DiffusionScan, brain: Mask, source: RishFeatures, target: RishFeatures, b0_gain: float
) -> Array:
    """The series (N, X, Y, Z) with the harmonics of its weighted shells scaled.

    Parameters
    ----------
    scan, brain
        The series and its brain mask.
    source, target
        Features of both scanners over the same number of subjects.
    b0_gain
        Factor of the units; outside the brain nothing else is changed.
    """
    scale = np.clip(target.sums / np.maximum(source.sums, 1e-9), *SCALE_LIMITS)
    cells, orders = _common_space(brain), _order_of_coefficients()
    harmonized = scan.volumes * np.float32(b0_gain)
    b0 = harmonized[scan.shells[0].volumes][:, brain].mean(axis=0)
    for number, shell in enumerate(scan.shells[1:]):
        coefficients = _coefficients(scan, shell, brain)
        for row, order in enumerate(SH_ORDERS):
            coefficients[orders == order] *= map_coordinates(
                scale[number, row], cells, order=1, mode="nearest"
            )
        for volume in shell.volumes:
            ratio = _evaluate(coefficients, scan.gradients.bvecs[volume])
            harmonized[volume][brain] = np.maximum(ratio * b0, 0)
    return np.asarray(harmonized, dtype=np.float32)


def _coefficients(scan: DiffusionScan, shell: Shell, brain: Mask) -> Array:
    """Harmonics (C, V) of a shell's signal over the mean b = 0 signal, by dipy."""
    from dipy.core.sphere import Sphere
    from dipy.reconst.shm import sf_to_sh

    b0 = np.maximum(scan.volumes[scan.shells[0].volumes][:, brain].mean(axis=0), 1e-3)
    ratio = scan.volumes[shell.volumes][:, brain] / b0
    coefficients = sf_to_sh(
        ratio.T, Sphere(xyz=scan.gradients.bvecs[shell.volumes]), sh_order_max=MAX_ORDER,
        basis_type="descoteaux07", legacy=False, smooth=SH_SMOOTHING,
    )  # fmt: skip
    return np.asarray(coefficients.T, dtype=np.float32)


def _order_of_coefficients() -> NDArray[np.int64]:
    return np.concatenate([np.full(2 * order + 1, order) for order in SH_ORDERS])


def _energies(coefficients: Array) -> list[Array]:
    """Root of the energy (V,) of each order."""
    orders = _order_of_coefficients()
    return [np.sqrt((coefficients[orders == order] ** 2).sum(axis=0)) for order in SH_ORDERS]


def _common_space(brain: Mask) -> NDArray[np.float64]:
    """Coordinates (3, V) of a brain's voxels in the common space, in cells."""
    voxels = np.argwhere(brain).astype(np.float64)
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    return np.asarray(((voxels - low) / (high - low) * (np.asarray(COMMON_SPACE_SHAPE) - 1)).T)


def _evaluate(coefficients: Array, direction: NDArray[np.float64]) -> Array:
    """Signal ratio (V,) of the harmonics (C, V) in a direction (3,)."""
    from dipy.core.geometry import cart2sphere
    from dipy.reconst.shm import real_sh_descoteaux

    _, theta, phi = cart2sphere(*direction)
    basis = real_sh_descoteaux(MAX_ORDER, np.atleast_1d(theta), np.atleast_1d(phi), legacy=False)
    return np.asarray(basis[0][0].astype(np.float32) @ coefficients)
