"""What the network is told of a slice, and the heads that it adds to the normalization."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bids_ihf.network.context import (
    NETWORK_MODALITIES,
    Window,
    in_plane_position,
    slice_context,
)
from bids_ihf.network.flow import Architecture, IHFNetwork
from bids_ihf.network.normalization import LocalHead

SLICES, MASK = torch.rand(2, 3, 13, 10), torch.ones(2, 1, 13, 10)


def network(*, trained: bool) -> IHFNetwork:
    """A small network with all heads; after training they are no longer zero."""
    torch.manual_seed(0)
    made = IHFNetwork(
        Architecture(embedding=4, hidden=(4, 4), style=4, local=(4, 4), told_context=True)
    )
    if trained:
        for parameter in made.norms.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    return made


def test_modalities_differ_and_an_unknown_one_is_none_of_them() -> None:
    z = np.array([-30.0, 40.0])
    contexts = [slice_context(modality, z) for modality in (*NETWORK_MODALITIES, "any")]
    weights = np.stack([context[0, :-1] for context in contexts])
    np.testing.assert_array_equal(weights[:-1], np.eye(len(NETWORK_MODALITIES)))
    assert not weights[-1].any()
    for context in contexts:
        np.testing.assert_allclose(context[:, -1], [-0.3, 0.4], rtol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_position_is_that_of_the_squeezed_pixels(factor: int) -> None:
    fine = in_plane_position(torch.zeros(1, 1, 16, 24), (16, 24), None)
    coarse = in_plane_position(torch.zeros(1, 1, 16 // factor, 24 // factor), (16, 24), None)
    mean = torch.nn.functional.avg_pool2d(fine[:, 1:2], factor)
    torch.testing.assert_close(coarse[:, 1:2], mean)
    torch.testing.assert_close(coarse[:, 0], coarse[:, 0].flip(1))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_position_in_a_window_is_that_in_the_image(factor: int) -> None:
    whole = in_plane_position(torch.zeros(1, 1, 16 // factor, 24 // factor), (16, 24), None)
    window = Window((4, 8), (16, 24))
    part = in_plane_position(torch.zeros(1, 1, 8 // factor, 12 // factor), (8, 12), window)
    rows, columns = slice(4 // factor, 12 // factor), slice(8 // factor, 20 // factor)
    torch.testing.assert_close(part, whole[..., rows, columns])


def test_new_heads_change_nothing_before_training() -> None:
    scanner = torch.rand(2, 4)
    context = torch.from_numpy(slice_context("T1w", np.array([0.0, 50.0])))
    new = network(trained=False)
    assert torch.equal(
        new(SLICES, MASK, scanner, scanner, context), new(SLICES, MASK, scanner, scanner)
    )
    plain = IHFNetwork(Architecture(embedding=4, hidden=(4, 4), style=4))
    tensors = new.state_dict()
    plain.load_state_dict({key: tensors[key] for key in plain.state_dict()})
    assert torch.equal(plain(SLICES, MASK, scanner, scanner), new(SLICES, MASK, scanner, scanner))


def test_modality_and_position_matter_once_trained() -> None:
    scanner = torch.rand(2, 4)
    trained = network(trained=True)
    results = [
        trained(SLICES, MASK, scanner, scanner, torch.from_numpy(slice_context(name, z)))
        for name, z in (
            ("T1w", np.array([0.0, 50.0])),
            ("T2w", np.array([0.0, 50.0])),
            ("T1w", np.array([0.0, 20.0])),
        )
    ]
    assert not torch.allclose(results[0], results[1])
    torch.testing.assert_close(results[0][0], results[2][0])
    assert not torch.allclose(results[0][1], results[2][1])


def test_the_flow_is_inverted_with_all_heads() -> None:
    trained = network(trained=True)
    again = trained.decode(trained.encode(SLICES))
    torch.testing.assert_close(again, SLICES, atol=1e-5, rtol=1e-5)


def test_local_head_sees_the_neighbourhood_of_a_pixel_alone() -> None:
    torch.manual_seed(0)
    head = LocalHead(2, 3, width=4)
    torch.nn.init.normal_(head.out.weight)
    z, condition = torch.rand(1, 2, 12, 12), torch.rand(1, 6)
    other = z.clone()
    other[:, :, 6, 6] += 1
    scale, shift = head(z, condition, (24, 24))
    for before, after in zip((scale, shift), head(other, condition, (24, 24)), strict=True):
        moved = (before != after).any(dim=1)[0]
        assert moved[6, 6]
        rows, columns = torch.nonzero(moved, as_tuple=True)
        assert (rows - 6).abs().max() <= 2
        assert (columns - 6).abs().max() <= 2
