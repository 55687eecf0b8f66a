"""The encoder's shape and its agreement with torchvision's numbering."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from bids_ihf.network.encoder import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    TAP_POSITIONS,
    Encoder,
    _torchvision_models,
    encoder_from_vgg19,
    imagenet_encoder,
)


def test_layers_are_those_of_vgg19_to_relu4_1() -> None:
    encoder = Encoder(width=64)
    shapes = {
        int(k.split(".")[0]): v.shape
        for k, v in encoder.features.state_dict().items()
        if "weight" in k
    }
    # torchvision's vgg19().features: positions and widths of its first nine convolutions.
    expected = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256, 19: 512}
    assert {position: shape[0] for position, shape in shapes.items()} == expected
    assert all(isinstance(encoder.features[position], torch.nn.ReLU) for position in TAP_POSITIONS)


def test_embedding_has_eq_1_order() -> None:
    torch.manual_seed(0)
    encoder = Encoder(width=4)
    x, mask = torch.randn(2, 3, 33, 47), torch.ones(2, 1, 33, 47)
    maps = encoder(x)
    assert [m.shape[1] for m in maps] == [4, 8, 16, 32]
    embedding = encoder.embed(x, mask)
    assert embedding.shape == (2, encoder.size) == (2, 120)
    torch.testing.assert_close(embedding[:, :4], maps[0].mean(dim=(2, 3)))
    torch.testing.assert_close(
        embedding[:, -32:], maps[3].var(dim=(2, 3), unbiased=False).add(1e-6).sqrt()
    )


def test_fewer_taps_are_the_first_ones() -> None:
    encoder = Encoder(width=2)
    x = torch.randn(1, 3, 16, 16)
    few, all_maps = encoder(x, taps=2), encoder(x)
    assert len(few) == 2
    assert all(torch.equal(a, b) for a, b in zip(few, all_maps, strict=False))


@pytest.mark.skipif(find_spec("torchvision") is None, reason="needs ihf-harmony[imagenet]")
def test_vgg19_of_torchvision_gives_the_same_features() -> None:
    vgg19 = _torchvision_models().vgg19(weights=None).eval()
    encoder = encoder_from_vgg19(vgg19.features.state_dict())
    x = torch.rand(1, 3, 32, 48)  # sides that every pooling halves
    mean, deviation = (torch.tensor(v) for v in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    expected = vgg19.features[:21]((x - mean[:, None, None]) / deviation[:, None, None])
    torch.testing.assert_close(encoder(2 * x - 1)[-1], expected, atol=1e-4, rtol=1e-4)


def test_imagenet_encoder_takes_the_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    published = Encoder(width=64).features
    networks = {"IMAGENET1K_V1": SimpleNamespace(features=published)}
    models = SimpleNamespace(
        vgg19=lambda weights: networks[weights],
        VGG19_Weights=SimpleNamespace(IMAGENET1K_V1="IMAGENET1K_V1"),
    )
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    encoder = imagenet_encoder()
    assert not encoder.has_tissue_head
    assert torch.equal(encoder.features[19].weight, published[19].weight)
    # Black, -1, is 0 for ImageNet's weights, and white, 1, is 1.
    for value, intensity in ((-1.0, 0.0), (1.0, 1.0)):
        normalized = (value - encoder.shift) * encoder.scale
        expected = (intensity - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_DEVIATION)
        torch.testing.assert_close(normalized, expected)
