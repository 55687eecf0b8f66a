"""Weights survive the disk, and nothing altered or mismatched is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from bids_ihf.errors import BadData
from bids_ihf.io.tensors import tensor_hash
from bids_ihf.network.checkpoint import load_encoder, load_model, pack_encoder, pack_network
from bids_ihf.network.encoder import Encoder
from bids_ihf.network.flow import Architecture, IHFNetwork

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    torch.manual_seed(0)
    encoder = Encoder(width=2)
    (tmp_path / "encoder.safetensors").write_bytes(pack_encoder(encoder, {"seed": 1}))
    _, digest = load_encoder(tmp_path / "encoder.safetensors")
    network = IHFNetwork(Architecture(embedding=encoder.size, hidden=(4, 4), style=4))
    data = pack_network(network, digest, "tiny", {"seed": 1, "people": ["a"]})
    (tmp_path / "network.safetensors").write_bytes(data)
    return tmp_path / "network.safetensors", tmp_path / "encoder.safetensors"


def test_round_trip_through_the_disk(files: tuple[Path, Path]) -> None:
    first, second = (load_model(files[0], encoder_path=files[1]) for _ in range(2))
    assert first.name == "tiny"
    assert first.record == {"seed": 1, "people": ["a"]}
    tensors = {key: value.half() for key, value in first.network.state_dict().items()}
    assert first.hash == second.hash == tensor_hash(tensors)
    assert not any(p.requires_grad for p in first.network.parameters())


def test_files_are_the_same_bytes_each_time(files: tuple[Path, Path]) -> None:
    model = load_model(files[0], encoder_path=files[1])
    again = pack_network(model.network, model.encoder_hash, "tiny", model.record)
    assert again == files[0].read_bytes()


def test_altered_weights_are_refused(files: tuple[Path, Path]) -> None:
    data = bytearray(files[0].read_bytes())
    data[-3] ^= 1
    files[0].write_bytes(data)
    with pytest.raises(BadData, match="sha256 does not match"):
        load_model(files[0], encoder_path=files[1])


def test_an_altered_header_is_refused(files: tuple[Path, Path]) -> None:
    content = files[0].read_bytes()
    assert content.count(b"tiny") == 1
    files[0].write_bytes(content.replace(b"tiny", b"tony"))
    with pytest.raises(BadData, match="sha256 does not match"):
        load_model(files[0], encoder_path=files[1])


def test_truncated_and_missing_files_are_refused(files: tuple[Path, Path]) -> None:
    files[0].write_bytes(files[0].read_bytes()[:-100])
    with pytest.raises(BadData, match="not a readable safetensors file"):
        load_model(files[0], encoder_path=files[1])
    with pytest.raises(BadData, match="not a readable safetensors file"):
        load_model(files[0].with_name("none.safetensors"), encoder_path=files[1])


def test_a_pickle_is_refused(files: tuple[Path, Path]) -> None:
    torch.save({"x": torch.zeros(1)}, files[0])
    with pytest.raises(BadData, match="not a readable safetensors file"):
        load_model(files[0], encoder_path=files[1])


def test_wrong_kind_of_file_is_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(BadData, match="holds 'ihf-harmony encoder 1'"):
        load_model(files[1], encoder_path=files[1])


def test_another_encoder_is_refused(files: tuple[Path, Path]) -> None:
    torch.manual_seed(5)
    files[1].write_bytes(pack_encoder(Encoder(width=2), {}))
    with pytest.raises(BadData, match="another encoder"):
        load_model(files[0], encoder_path=files[1])


def test_a_networks_encoder_is_looked_for_beside_it(files: tuple[Path, Path]) -> None:
    assert load_model(files[0]).encoder_hash == load_encoder(files[1])[1]
    files[1].unlink()
    with pytest.raises(BadData, match="another encoder"):
        load_model(files[0])
