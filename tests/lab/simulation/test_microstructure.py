"""The signal of neurites against independent computations, and the true maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bids_ihf.lab.simulation import microstructure, noddi
from bids_ihf.lab.simulation.gradient_scheme import (
    fsl_directions,
    gradient_table,
    hemisphere_directions,
)

if TYPE_CHECKING:
    from bids_ihf.lab.simulation.anatomy import Anatomy

AXIS = np.array([0.0, 0.6, 0.8])


def sampled(b: float, odi: float, direction: np.ndarray) -> float:
    """Dispersed sticks by brute force: a sum over many orientations."""
    sticks = hemisphere_directions(20000)
    kappa = 1 / np.tan(np.pi / 2 * odi)
    weight = np.exp(kappa * (sticks @ AXIS) ** 2)
    signal = np.exp(-b * noddi.NEURITE_DIFFUSIVITY_MM2_PER_S * (sticks @ direction) ** 2)
    return float((weight * signal).sum() / weight.sum())


@pytest.mark.parametrize("b", [700.0, 1000.0, 3000.0])
@pytest.mark.parametrize("odi", [0.1, 0.3, 0.8])
@pytest.mark.parametrize("direction", [(0, 0.6, 0.8), (1, 0, 0), (0.48, 0.6, 0.64)])
def test_sticks(b: float, odi: float, direction: tuple[float, float, float]) -> None:
    one = np.ones(1, dtype=np.float32)
    moments = [
        noddi.watson_moment(order, one * np.float32(odi)) for order in noddi.LEGENDRE_ORDERS
    ]
    square = one * np.float32(np.dot(direction, AXIS) ** 2)
    series = noddi.stick_series(one * np.float32(b), moments)
    found = noddi.neurite_signal(one * np.float32(b), square, one, moments[1], series)
    assert found[0] == pytest.approx(sampled(b, odi, np.asarray(direction)), abs=0.004)


def test_without_neurites_water_is_free_to_move_along(phantom: Anatomy) -> None:
    aligned = np.ones(1, np.float32)
    across, along = noddi.hindered_diffusivities(np.zeros(1, np.float32), aligned)
    assert across[0] == along[0] == pytest.approx(noddi.NEURITE_DIFFUSIVITY_MM2_PER_S)
    across, along = noddi.hindered_diffusivities(
        np.full(1, 0.6, np.float32), np.ones(1, np.float32)
    )
    assert along[0] == pytest.approx(noddi.NEURITE_DIFFUSIVITY_MM2_PER_S)
    assert across[0] == pytest.approx(0.4 * noddi.NEURITE_DIFFUSIVITY_MM2_PER_S)


def test_truth_is_that_of_the_tissues(phantom: Anatomy) -> None:
    drawn = microstructure.random_microstructure(phantom, 3, np.eye(4))
    truth = microstructure.diffusion_truth(phantom, drawn)
    white, grey, csf = (phantom.fraction(name) == 1 for name in ("white", "grey", "csf"))
    assert np.allclose(truth.md[csf], noddi.FREE_DIFFUSIVITY_MM2_PER_S)
    assert np.allclose(truth.fa[csf], 0, atol=1e-6)
    assert 0.6e-3 < truth.md[white].mean() < 0.9e-3
    assert truth.fa[white].mean() > 3 * truth.fa[grey].mean()
    assert np.allclose(truth.ndi[white], drawn.ndi["white"][white])


def test_subjects_differ_a_little_and_share_their_fibres(phantom: Anatomy) -> None:
    one, other = (
        microstructure.random_microstructure(phantom, seed, np.eye(4)) for seed in (1, 2)
    )
    white = phantom.fraction("white") == 1
    cosine = np.abs((one.axis * other.axis).sum(axis=0))[white]
    assert np.median(np.degrees(np.arccos(np.minimum(cosine, 1)))) < 30
    assert not np.allclose(one.ndi["white"], other.ndi["white"], atol=0.01)
    assert np.allclose(np.linalg.norm(one.axis, axis=0), 1, atol=1e-5)


def test_table_has_what_was_asked() -> None:
    found = gradient_table({0: 3, 1000: 12, 2000: 20}, 5)
    assert [int((found.bvals == b).sum()) for b in (0, 1000, 2000)] == [3, 12, 20]
    assert found.bvals[0] == 0
    assert np.allclose(np.linalg.norm(found.bvecs[found.bvals > 0], axis=1), 1)


def test_stated_directions_follow_fsl() -> None:
    vectors = np.array([[0.6, 0.0, 0.8]])
    assert np.allclose(fsl_directions(vectors, np.diag([2.0, 2, 2, 1])), [[-0.6, 0, 0.8]])
    assert np.allclose(fsl_directions(vectors, np.diag([-2.0, 2, 2, 1])), [[-0.6, 0, 0.8]])
    turned = np.array([[0, 0, 2.0, 0], [2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    assert np.allclose(fsl_directions(vectors, turned), [[0, 0.8, 0.6]])
