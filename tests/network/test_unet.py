"""The network that finds brain and tissues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from bids_ihf.errors import BadData
from bids_ihf.io.paths import packaged_file
from bids_ihf.network.checkpoint import load_segmenter, pack_encoder, pack_segmenter
from bids_ihf.network.encoder import Encoder
from bids_ihf.network.unet import SEGMENTER_CLASSES, Segmenter, _space_to_depth

if TYPE_CHECKING:
    from pathlib import Path


def test_neighbours_become_channels_of_one_place() -> None:
    image = torch.rand(2, 1, 4, 6, 8)
    deep = _space_to_depth(image)
    assert deep.shape == (2, 8, 2, 3, 4)
    assert deep[1, :, 1, 2, 3].tolist() == image[1, 0, 2:4, 4:6, 6:8].flatten().tolist()


def test_scores_for_every_voxel() -> None:
    network = Segmenter((8, 8)).eval()
    assert network.multiple == 4
    scores = network(torch.rand(1, 1, 8, 12, 16))
    assert scores.shape == (1, len(SEGMENTER_CLASSES), 8, 12, 16)


def test_a_file_gives_the_network_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Segmenter((8, 16)).eval()
    path = tmp_path / "brain.safetensors"
    path.write_bytes(pack_segmenter(network, {}))
    again = load_segmenter(path)
    image = torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(again(image), network(image), atol=0.02, rtol=0.02)
    path.write_bytes(pack_encoder(Encoder(width=2), {}))
    with pytest.raises(BadData, match=r"brain\.safetensors: holds 'ihf-harmony encoder 1'"):
        load_segmenter(path)


def test_the_shipped_network_is_small() -> None:
    assert packaged_file("brain.safetensors").stat().st_size < 10e6
