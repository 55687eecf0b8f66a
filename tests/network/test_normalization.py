"""Eq. (2) and the statistics behind it."""

from __future__ import annotations

import pytest
import torch

from bids_ihf.network.normalization import ArtefactAwareNorm
from bids_ihf.network.statistics import channel_statistics


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:12, 4:12] = 1
    return torch.randn(2, 6, 8, 8), mask, torch.randn(2, 10), torch.randn(2, 10)


def test_statistics_see_only_the_mask() -> None:
    x, mask, *_ = inputs()
    inside = x[:, :, 2:6, 2:6]
    mean, deviation = channel_statistics(x, mask)
    torch.testing.assert_close(mean, inside.mean(dim=(2, 3), keepdim=True))
    expected = inside.var(dim=(2, 3), keepdim=True, unbiased=False)
    torch.testing.assert_close(deviation.square(), expected, atol=1e-5, rtol=1e-5)


def test_statistics_of_an_empty_mask_are_finite() -> None:
    mean, deviation = channel_statistics(torch.randn(1, 2, 4, 4), torch.zeros(1, 1, 4, 4))
    assert mean.abs().max() == 0
    assert torch.isfinite(deviation).all()


def test_relative_form_starts_near_the_identity() -> None:
    z, mask, target, source = inputs()
    norm = ArtefactAwareNorm(6, 10, hidden=8, form="relative")
    assert (norm(z, mask, target, source) - z).abs().max() < 0.05
    torch.nn.init.zeros_(norm.scale.weight)
    torch.nn.init.zeros_(norm.shift.weight)
    assert torch.equal(norm(z, mask, target, source), z)


def test_printed_form_takes_statistics_from_the_target_alone() -> None:
    z, mask, target, source = inputs()
    norm = ArtefactAwareNorm(6, 10, hidden=8, form="printed")
    out = norm(z, mask, target, source)
    assert torch.equal(out, norm(z, mask, target, source + 1))
    # Instance normalization hides the source's contrast: another gain gives the same result.
    torch.testing.assert_close(norm(z * 3, mask, target, source), out, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(out, norm(z, mask, target + torch.randn(2, 10), source))


@pytest.mark.parametrize("form", ["relative", "printed"])
def test_background_does_not_reach_the_brain(form: str) -> None:
    z, mask, target, source = inputs()
    norm = ArtefactAwareNorm(6, 10, hidden=8, form=form)
    norm.content.conv.weight.data[:, :, [0, 0, 2, 2], [0, 2, 0, 2]] = 0
    other = z.clone()
    other[:, :, 0, 0] = 100.0
    same = norm(other, mask, target, source)[:, :, 2:6, 2:6]
    torch.testing.assert_close(same, norm(z, mask, target, source)[:, :, 2:6, 2:6])
