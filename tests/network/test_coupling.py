"""The round trip, by property: any weights, any alpha, any size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_ihf.network.coupling import couple, fuse_exact, fuse_printed
from bids_ihf.network.flow import Architecture, IHFNetwork, pad_to_multiple
from tests.network.round_trip import round_trip_error

ALPHAS = st.floats(0, 1)


def random_network(seed: int, alpha: float, reverse: str = "exact") -> IHFNetwork:
    torch.manual_seed(seed)
    arch = Architecture(embedding=8, splits=(3, 2), hidden=(8, 8), style=8, reverse=reverse)
    network = IHFNetwork(arch)
    for flow in network.flows:
        for parameter in flow.affine_net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        flow.alpha_logit.data = torch.logit(torch.tensor(alpha))
    return network


@given(seed=st.integers(0, 99), alpha=ALPHAS, height=st.integers(1, 23), width=st.integers(1, 23))
@settings(max_examples=40, deadline=None)
def test_round_trip_is_exact_for_any_alpha_and_size(
    seed: int, alpha: float, height: int, width: int
) -> None:
    network = random_network(seed, alpha)
    x = torch.rand(2, 3, height, width) * 2 - 1
    assert round_trip_error(network, x) <= 1e-5
    assert round_trip_error(network.double(), x.double()) <= 1e-12


@pytest.mark.parametrize(("alpha", "exact"), [(1.0, True), (0.99, False), (0.5, False)])
def test_printed_reverse_is_exact_only_at_alpha_one(alpha: float, exact: bool) -> None:
    network = random_network(1, alpha, reverse="printed")
    error = round_trip_error(network.double(), torch.rand(1, 3, 16, 16, dtype=torch.float64))
    assert (error < 1e-10) == exact


@given(alpha=ALPHAS, n=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_fusing_undoes_coupling(alpha: float, n: int) -> None:
    torch.manual_seed(n)
    x, a = torch.randn(4, dtype=torch.float64), list(torch.randn(n, 4, dtype=torch.float64))
    torch.testing.assert_close(fuse_exact(couple(x, a), a, alpha), x)
    torch.testing.assert_close(fuse_printed(couple(x, a), a, 1.0), x)


def test_alpha_matters_once_latents_change() -> None:
    x, a = torch.randn(4), list(torch.randn(3, 4))
    changed = [b * 1.5 for b in couple(x, a)]
    assert not torch.allclose(fuse_exact(changed, a, 0.1), fuse_exact(changed, a, 0.9))


def test_encoding_twice_does_not_disturb_the_first() -> None:
    network = random_network(3, 0.5)
    first, second = torch.rand(1, 3, 12, 12), torch.rand(1, 3, 12, 12)
    encoded = network.encode(first)
    network.encode(second)
    torch.testing.assert_close(network.decode(encoded), first, atol=1e-5, rtol=0)


def test_padding_repeats_the_edge() -> None:
    x = torch.rand(1, 1, 5, 7)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 1, 8, 8)
    assert torch.equal(padded[..., :5, :7], x)
    assert torch.equal(padded[..., 7, 7], x[..., 4, 6])
