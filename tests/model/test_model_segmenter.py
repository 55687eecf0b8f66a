"""The network that finds brain and tissues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from bids_ihf.errors import BadData
from bids_ihf.model.checkpoint import load_segmenter, pack_encoder, pack_segmenter, shipped
from bids_ihf.model.encoder import Encoder
from bids_ihf.model.segmenter import CLASSES, Segmenter, _to_depth, _to_space

if TYPE_CHECKING:
    from pathlib import Path


def test_depth_and_space_undo_each_other() -> None:
    image = torch.rand(2, 1, 4, 6, 8)
    assert torch.equal(_to_space(_to_depth(image)), image)
    # Neighbours become channels of one place.
    assert _to_depth(image)[0, :, 0, 0, 0].tolist() == image[0, 0, :2, :2, :2].flatten().tolist()


def test_scores_for_every_voxel() -> None:
    network = Segmenter((8, 8)).eval()
    assert network.multiple == 4
    scores = network(torch.rand(1, 1, 8, 12, 16))
    assert scores.shape == (1, len(CLASSES), 8, 12, 16)


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
    assert shipped("brain.safetensors").stat().st_size < 10e6
