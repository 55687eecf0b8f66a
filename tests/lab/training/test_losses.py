"""Eqs. 3 and 4, and the supervised loss."""

from __future__ import annotations

import torch

from bids_ihf.lab.training.losses import (
    anatomy_loss,
    artefact_loss,
    correlation_maps,
    split_embedding,
    supervised_loss,
)
from bids_ihf.network.encoder import Encoder, join_statistics


def maps(seed: int = 0) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    return [torch.rand(2, c, 32 // s, 32 // s) for c, s in ((4, 1), (8, 2), (16, 4), (32, 8))]


def test_anatomy_loss_ignores_gain_and_sees_structure() -> None:
    features = torch.rand(2, 6, 16, 16)
    assert anatomy_loss(features, features * 3) < 1e-6
    assert anatomy_loss(features, features.flip(-1)) > 0.01


def test_correlation_maps_are_similarities_of_patch_points() -> None:
    maps_ = correlation_maps(torch.rand(1, 5, 17, 24))
    assert maps_.shape == (2 * 3, 64, 64)
    torch.testing.assert_close(maps_.diagonal(dim1=1, dim2=2), torch.ones(6, 64))
    torch.testing.assert_close(maps_, maps_.transpose(1, 2))


def test_artefact_loss_vanishes_at_the_targets_statistics() -> None:
    features, mask = maps(), torch.ones(2, 1, 32, 32)
    widths = [f.shape[1] for f in features]
    target = split_embedding(join_statistics(features, mask), widths)
    assert artefact_loss(features[:3], target[:3], mask) < 1e-3
    shifted = [f + 0.3 for f in features]
    assert artefact_loss(shifted[:3], target[:3], mask) > 0.8


def test_artefact_loss_leaves_out_the_most_different_tenth() -> None:
    features, mask = [torch.zeros(1, 10, 4, 4)], torch.ones(1, 1, 4, 4)
    mean = torch.zeros(1, 10)
    mean[0, 3] = 50.0
    deviation = torch.full((1, 10), 1e-3)
    assert artefact_loss(features, [(mean, deviation)], mask) < 1e-2


def test_supervised_loss_looks_at_the_centre_slice_in_the_brain() -> None:
    output, truth = torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:8, 4:8] = 1
    output[:, [0, 2]] = 9
    truth[..., 12:, 12:] = 9
    assert supervised_loss(output, truth, mask) == 0
    truth[..., 5, 5] = 1
    assert supervised_loss(output, truth, mask) > 0


def test_embedding_splits_as_the_encoder_joins() -> None:
    encoder = Encoder(width=2)
    x, mask = torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    parts = split_embedding(encoder.embed(x, mask), [2, 4, 8, 16])
    features = encoder(x)
    torch.testing.assert_close(parts[2][0], features[2].mean(dim=(2, 3)))
