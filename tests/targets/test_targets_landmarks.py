"""Landmarks are the tissues' intensities, whatever their share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bids_ihf.model.encoder import Encoder
from bids_ihf.targets.landmarks import slice_statistics

LEVELS = {"grey": 0.1, "white": 0.6, "csf": -0.5}


def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(width=4)


def slices(share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two slices with three bands of tissue, their mask, and the bands as a segmentation that
    mistakes some of them; ``share`` is that of CSF."""
    x = np.full((2, 3, 48, 48), LEVELS["white"], np.float32)
    edge = int(48 * share) // 2 * 2
    x[..., :edge] = LEVELS["csf"]
    x[..., edge : edge + 14] = LEVELS["grey"]
    tissues = np.stack([x[:, 1] == level for level in LEVELS.values()], axis=1)
    wrong = np.random.default_rng(0).random((2, 1, 24, 24)).repeat(2, 2).repeat(2, 3) < 0.05
    tissues = np.where(wrong, tissues[:, [1, 2, 0]], tissues)
    return x, np.ones((2, 48, 48), np.float32), tissues.astype(np.float32)


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_landmarks_do_not_move_with_the_share_of_tissues(share: float) -> None:
    found = slice_statistics(encoder(), *slices(share))
    np.testing.assert_allclose(found.landmarks, list(LEVELS.values()), atol=0.02)
    assert found.embeddings.shape == (2, encoder().size)
    sizes = found.tissues.sum(axis=1) / found.tissues.sum()
    edge = int(48 * share) // 2 * 2
    np.testing.assert_allclose(sizes, [14 / 48, 1 - (edge + 14) / 48, edge / 48], atol=0.03)


def test_a_tissue_hardly_seen_is_no_landmark() -> None:
    x, mask, tissues = slices(0.5)
    mask[:, :, 24:] = 0
    found = slice_statistics(encoder(), x, mask, tissues)
    assert found.landmarks[2] == pytest.approx(LEVELS["csf"], abs=0.02)
    assert np.isnan(found.landmarks[:2]).all()


def test_without_tissue_there_are_no_landmarks() -> None:
    x, mask, tissues = slices(0.3)
    found = slice_statistics(encoder(), x, mask, np.zeros_like(tissues))
    assert np.isnan(found.landmarks).all()
    nowhere = slice_statistics(encoder(), x, np.zeros_like(mask), tissues)
    assert np.isnan(nowhere.landmarks).all()
    assert not nowhere.tissues.any()


def test_slices_of_odd_size_keep_their_voxels_in_place() -> None:
    cut = (array[..., :-1, :-1] for array in slices(0.5))
    found = slice_statistics(encoder(), *cut)
    np.testing.assert_allclose(found.landmarks, list(LEVELS.values()), atol=0.02)
