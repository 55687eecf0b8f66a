"""Fractional anisotropy from running sums."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bids_ihf.bids.gradient_tables import GradientTable
from bids_ihf.dwi.tensor import MAX_TENSOR_B_S_PER_MM2, TensorSums


def table(directions: int = 20, b: float = 1000.0) -> GradientTable:
    vectors = np.random.default_rng(0).normal(size=(directions, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    bvals = np.concatenate([[0.0, 0.0], np.full(directions, b), [3000.0]])
    return GradientTable(bvals, np.concatenate([np.zeros((2, 3)), vectors, [[0, 0, 1.0]]]))


def series(gradients: GradientTable, eigenvalues: NDArray[np.float64]) -> NDArray[np.float32]:
    """Signals (N, 1, 1, V) of tensors along x, y, z."""
    rates = np.square(gradients.bvecs) @ eigenvalues.T
    return (500 * np.exp(-gradients.bvals[:, None] * rates)).astype(np.float32)[:, None, None]


def test_known_tensors() -> None:
    values = np.array([[1.7e-3, 0.2e-3, 0.2e-3], [0.7e-3] * 3])
    gradients = table()
    volumes = series(gradients, values)
    volumes[-1] = 7  # above MAX_TENSOR_B_S_PER_MM2: must not count
    sums = TensorSums(gradients, np.ones(volumes.shape[1:], dtype=bool))
    for number, volume in enumerate(volumes):
        sums.add(number, volume)
    found = sums.anisotropy()
    assert found is not None
    away = values[0] - values[0].mean()
    expected = np.sqrt(1.5 * np.square(away).sum() / np.square(values[0]).sum())
    np.testing.assert_allclose(found[0, 0], [expected, 0], atol=2e-3)


def test_too_few_directions() -> None:
    gradients = table(4)
    sums = TensorSums(gradients, np.ones((1, 1, 1), dtype=bool))
    sums.add(0, np.ones((1, 1, 1), dtype=np.float32))
    assert sums.anisotropy() is None


@pytest.mark.filterwarnings("error")
def test_dark_voxels_have_no_value_that_is_not_finite() -> None:
    gradients = table()
    where = np.array([True, False])[None, None]
    sums = TensorSums(gradients, where)
    for number in range(len(gradients)):
        sums.add(number, np.zeros((1, 1, 2), dtype=np.float32))
    found = sums.anisotropy()
    assert found is not None
    assert np.isfinite(found).all()
    assert found[0, 0, 1] == 0


def test_anisotropy_is_dipys() -> None:
    """Ordinary least squares of noisy tensors in any orientation, b = 3000 left out by both."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    rng = np.random.default_rng(3)
    gradients = table(30)
    values = np.sort(rng.uniform(0.3e-3, 1.8e-3, (200, 3)))
    axes, _ = np.linalg.qr(rng.normal(size=(200, 3, 3)))
    tensors = np.einsum("vij,vj,vkj->vik", axes, values, axes)
    rates = np.einsum("ni,vij,nj->nv", gradients.bvecs, tensors, gradients.bvecs)
    signal = 500 * np.exp(-gradients.bvals[:, None] * rates) + rng.normal(0, 10, rates.shape)
    volumes = np.maximum(signal, 1).astype(np.float32)[:, None, None]
    sums = TensorSums(gradients, np.ones((1, 1, 200), dtype=bool))
    for index, volume in enumerate(volumes):
        sums.add(index, volume)
    anisotropy = sums.anisotropy()
    assert anisotropy is not None

    fitted = gradients.bvals <= MAX_TENSOR_B_S_PER_MM2
    scheme = gradient_table(gradients.bvals[fitted], bvecs=gradients.bvecs[fitted])
    reference = TensorModel(scheme, fit_method="OLS").fit(volumes[fitted, 0, 0].T)
    # Single precision of our sums; eigenvalues are positive, which the two clip differently.
    np.testing.assert_allclose(anisotropy[0, 0], reference.fa, rtol=0, atol=2e-5)
    assert np.ptp(reference.fa) > 0.3
