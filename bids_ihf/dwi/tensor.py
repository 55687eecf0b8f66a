"""Fractional anisotropy of a diffusion series, from sums over volumes that are each seen once.

For looking at: the tensor is fitted to logarithms by plain least squares (Basser et al. 1994, J
Magn Reson B 103:247), which is linear in them, so no volume has to be kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.bids.gradient_tables import GradientTable

    Array = NDArray[np.float32]

MAX_TENSOR_B_VALUE = 1500.0
"""Largest b-value (s/mm2) that is fitted: above, the signal is no single exponential."""

TENSOR_ENTRIES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Entries of the tensor, in the order of the fit."""


class TensorSums:
    """Running sums of the fit in the voxels ``where`` (X, Y, Z)."""

    def __init__(self, gradients: GradientTable, where: NDArray[np.bool_]) -> None:
        self._where = where
        used = np.flatnonzero(gradients.bvals <= MAX_TENSOR_B_VALUE)
        design = _design(gradients.bvals[used], gradients.bvecs[used])
        self.possible = bool(len(used) and np.linalg.matrix_rank(design) == design.shape[1])
        solution = np.linalg.pinv(design).astype(np.float32) if self.possible else design.T
        self._columns = dict(zip(used.tolist(), solution.T, strict=True))
        self._sums = np.zeros((len(TENSOR_ENTRIES), int(where.sum())), dtype=np.float32)

    def add(self, number: int, volume: Array) -> None:
        """One volume (X, Y, Z), by its place in the series; high weightings are passed over."""
        column = self._columns.get(number)
        if column is None or not self.possible:
            return
        values = volume[self._where]
        # A hundredth of the mean: noise about zero has no logarithm.
        logs = np.log(np.maximum(values, np.float32(0.01) * max(float(values.mean()), 1e-6)))
        for row, weight in enumerate(column[: len(TENSOR_ENTRIES)]):
            self._sums[row] += weight * logs

    def anisotropy(self) -> Array | None:
        """FA (X, Y, Z), 0 outside; None where there are too few directions to tell."""
        if not self.possible:
            return None
        tensors = np.zeros((self._sums.shape[1], 3, 3))
        for (row, column), values in zip(TENSOR_ENTRIES, self._sums, strict=True):
            tensors[:, row, column] = tensors[:, column, row] = values
        out = np.zeros(self._where.shape, dtype=np.float32)
        out[self._where] = fractional_anisotropy(np.linalg.eigvalsh(tensors))
        return out


def _design(bvals: NDArray[np.float64], bvecs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (N, 7) that give the logarithm of the signal from tensor and logarithm of b 0."""
    twice = [1 if row == column else 2 for row, column in TENSOR_ENTRIES]
    columns = [
        -bvals * factor * bvecs[:, row] * bvecs[:, column]
        for (row, column), factor in zip(TENSOR_ENTRIES, twice, strict=True)
    ]
    return np.stack([*columns, np.ones(len(bvals))], axis=1)


def fractional_anisotropy(eigenvalues: NDArray[np.floating]) -> NDArray[np.floating]:
    """FA (V,), 0 to 1, of eigenvalues (V, 3); those below zero count as none.

    >>> fractional_anisotropy(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    array([0., 1.])
    """
    values = np.maximum(eigenvalues, 0)
    size = np.square(values).sum(axis=1)
    away = np.square(values - values.mean(axis=1, keepdims=True)).sum(axis=1)
    return np.asarray(np.sqrt(1.5 * away / np.where(size > 0, size, 1)))
