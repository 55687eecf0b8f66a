"""Fractional anisotropy and mean diffusivity of a diffusion series, from sums over volumes that
are each read once.

The tensor is fitted to the logarithms of the signal by ordinary least squares (Basser
et al. 1994, J Magn Reson B 103:247), which is linear in them, so that no volume has to be kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bids_ihf.bids.gradient_tables import GradientTable

Array = NDArray[np.float32]

MAX_TENSOR_B_S_PER_MM2 = 1500.0
"""Largest b-value (s/mm2) that is fitted; above, the signal is not monoexponential."""

MIN_RELATIVE_SIGNAL = 0.01
"""Smallest signal whose logarithm is taken, relative to the mean of its volume."""

TENSOR_ENTRIES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Entries of the tensor, in the order of the fit."""


class TensorSums:
    """Running sums of the tensor fit at the voxels of a mask (X, Y, Z), up to a b-value."""

    def __init__(
        self,
        gradients: GradientTable,
        mask: NDArray[np.bool_],
        max_b_s_per_mm2: float = MAX_TENSOR_B_S_PER_MM2,
    ) -> None:
        self._mask = mask
        volumes = np.flatnonzero(gradients.bvals <= max_b_s_per_mm2)
        design = _design(gradients.bvals[volumes], gradients.bvecs[volumes])
        self.possible = bool(len(volumes) and np.linalg.matrix_rank(design) == design.shape[1])
        solution = np.linalg.pinv(design).astype(np.float32) if self.possible else design.T
        self._columns = dict(zip(volumes.tolist(), solution.T, strict=True))
        self._sums = np.zeros((len(TENSOR_ENTRIES), int(mask.sum())), dtype=np.float32)

    def add(self, index: int, volume: Array) -> None:
        """Add a volume (X, Y, Z) by its index in the series; high b-values are ignored."""
        column = self._columns.get(index)
        if column is None or not self.possible:
            return
        values = volume[self._mask]
        lowest = np.float32(MIN_RELATIVE_SIGNAL) * max(float(values.mean()), 1e-6)
        logs = np.log(np.maximum(values, lowest))
        for row, weight in enumerate(column[: len(TENSOR_ENTRIES)]):
            self._sums[row] += weight * logs

    def anisotropy(self) -> Array | None:
        """FA (X, Y, Z), 0 outside the mask; None where directions are too few."""
        if not self.possible:
            return None
        return self._image(fractional_anisotropy(np.linalg.eigvalsh(self._tensors())))

    def diffusivity(self) -> Array | None:
        """MD (X, Y, Z) in mm2/s, 0 outside the mask; None where directions are too few."""
        if not self.possible:
            return None
        return self._image(np.maximum(self._sums[:3].mean(axis=0), 0))

    def _tensors(self) -> NDArray[np.float64]:
        tensors = np.zeros((self._sums.shape[1], 3, 3))
        for (row, column), values in zip(TENSOR_ENTRIES, self._sums, strict=True):
            tensors[:, row, column] = tensors[:, column, row] = values
        return tensors

    def _image(self, values: NDArray[np.floating]) -> Array:
        out = np.zeros(self._mask.shape, dtype=np.float32)
        out[self._mask] = values
        return out


def _design(bvals: NDArray[np.float64], bvecs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Design matrix (N, 7) of the logarithm of the signal: tensor entries, and ln S0."""
    multiplicity = [1 if row == column else 2 for row, column in TENSOR_ENTRIES]
    columns = [
        -bvals * factor * bvecs[:, row] * bvecs[:, column]
        for (row, column), factor in zip(TENSOR_ENTRIES, multiplicity, strict=True)
    ]
    return np.stack([*columns, np.ones(len(bvals))], axis=1)


def fractional_anisotropy(eigenvalues: NDArray[np.floating]) -> NDArray[np.floating]:
    """FA (V,), 0 to 1, of eigenvalues (V, 3); negative ones count as 0.

    FA = sqrt(3/2 sum((l - mean)^2) / sum(l^2)) (Basser & Pierpaoli 1996, J Magn Reson B 111:209).

    >>> fractional_anisotropy(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    array([0., 1.])
    """
    values = np.maximum(eigenvalues, 0)
    norm = np.square(values).sum(axis=1)
    deviation = np.square(values - values.mean(axis=1, keepdims=True)).sum(axis=1)
    return np.asarray(np.sqrt(1.5 * deviation / np.where(norm > 0, norm, 1)))
