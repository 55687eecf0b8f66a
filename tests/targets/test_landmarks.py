"""Landmarks are the tissues' intensities, whatever their share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bids_ihf.network.encoder import Encoder
from bids_ihf.targets.landmarks import slice_statistics

LEVELS = {"grey": 0.1, "white": 0.6, "csf": -0.5}


def naming_encoder() -> Encoder:
    """An encoder whose read-out tells three levels apart, as a trained one would."""
    torch.manual_seed(0)
    encoder = Encoder(width=4)
    for parameter in encoder.parameters():
        torch.nn.init.zeros_(parameter)
    first = encoder.features[0]
    # relu1_1: three ramps of the centre slice, rising from -1 and from between the tissues.
    first.weight.data[0, 1, 1, 1] = 1.0
    first.bias.data[0] = 1.0
    first.weight.data[1, 1, 1, 1] = 1.0
    first.bias.data[1] = -0.35
    first.weight.data[2, 1, 1, 1] = 1.0
    first.bias.data[2] = 0.2
    # Slopes change sign at the ramps' starts, so that each tissue wins on its own stretch.
    gain = 60.0
    grey, white, csf, other = range(4)
    encoder.tissue.weight.data[csf, 0] = -gain
    encoder.tissue.bias.data[csf] = gain * 0.8
    encoder.tissue.weight.data[grey, 2] = gain
    encoder.tissue.weight.data[grey, 1] = -3 * gain
    encoder.tissue.weight.data[white, 1] = gain
    encoder.tissue.bias.data[other] = -gain
    return encoder


def slices(share: float) -> tuple[np.ndarray, np.ndarray]:
    """Two slices with three bands of tissue; ``share`` is that of CSF."""
    x = np.full((2, 3, 48, 48), LEVELS["white"], np.float32)
    edge = int(48 * share) // 2 * 2
    x[..., :edge] = LEVELS["csf"]
    x[..., edge : edge + 14] = LEVELS["grey"]
    return x, np.ones((2, 48, 48), np.float32)


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_landmarks_do_not_move_with_the_share_of_tissues(share: float) -> None:
    found = slice_statistics(naming_encoder(), *slices(share))
    np.testing.assert_allclose(found.landmarks, list(LEVELS.values()), atol=0.02)
    assert found.embeddings.shape == (2, naming_encoder().size)
    sizes = found.tissue_histograms.sum(axis=1) / found.tissue_histograms.sum()
    edge = int(48 * share) // 2 * 2
    np.testing.assert_allclose(sizes, [14 / 48, 1 - (edge + 14) / 48, edge / 48], atol=0.01)


def test_batches_in_two_threads_give_the_same_bits() -> None:
    encoder = naming_encoder()
    x, mask = (np.concatenate([array] * 10) for array in slices(0.3))
    x += np.random.default_rng(0).normal(0, 0.05, x.shape).astype(np.float32)
    one, two = (slice_statistics(encoder, x, mask, threads=threads) for threads in (1, 2))
    for name in ("embeddings", "landmarks", "tissue_histograms", "regions"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert len(one.embeddings) == 20


def test_a_tissue_hardly_seen_is_no_landmark() -> None:
    x, mask = slices(0.5)
    mask[:, :, 24:] = 0
    found = slice_statistics(naming_encoder(), x, mask)
    assert found.landmarks[2] == pytest.approx(LEVELS["csf"], abs=0.02)
    assert np.isnan(found.landmarks[:2]).all()


def test_an_encoder_that_names_no_tissue_gives_no_landmarks() -> None:
    encoder = naming_encoder()
    encoder.has_tissue_head = False
    found = slice_statistics(encoder, *slices(0.3))
    assert np.isnan(found.landmarks).all()
    assert not found.tissue_histograms.any()


def test_slices_of_odd_size_keep_their_voxels_in_place() -> None:
    x, mask = slices(0.5)
    found = slice_statistics(naming_encoder(), x[:, :, :-1, :-1], mask[:, :-1, :-1])
    np.testing.assert_allclose(found.landmarks, list(LEVELS.values()), atol=0.02)
