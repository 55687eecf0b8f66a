"""The encoder's shape and its layers' numbering."""

from __future__ import annotations

import torch

from bids_ihf.network.encoder import TAP_POSITIONS, Encoder


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
