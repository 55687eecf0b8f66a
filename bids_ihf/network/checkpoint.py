"""Weights on disk: one safetensors file each for encoder and network, checked when loaded.

The header holds the architecture, a sha256 over the tensors, the sha256 of the encoder a network
was trained with, and the record of its training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import torch
from attrs import frozen

from bids_ihf.errors import BadData
from bids_ihf.io.paths import packaged_file
from bids_ihf.io.tensors import REINSTALL_ADVICE, read_safetensors, to_safetensors
from bids_ihf.network.encoder import Encoder
from bids_ihf.network.flow import Architecture, IHFNetwork
from bids_ihf.network.unet import Segmenter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

ENCODER_FORMAT = "ihf-harmony encoder 1"
NETWORK_FORMAT = "ihf-harmony network 1"
SEGMENTER_FORMAT = "ihf-harmony segmenter 1"
SEGMENTER_FILE = "brain.safetensors"


@frozen
class ModelBundle:
    """A network with its encoder, ready for inference on ``device``."""

    encoder: Encoder
    network: IHFNetwork
    name: str
    hash: str
    encoder_hash: str
    record: dict[str, Any]
    device: torch.device


def pack_encoder(encoder: Encoder, record: Mapping[str, Any]) -> bytes:
    """An encoder in half precision, with its training record."""
    tensors = {key: value.half() for key, value in encoder.state_dict().items()}
    header = {
        "format": ENCODER_FORMAT,
        "width": encoder.width,
        "names_tissue": encoder.has_tissue_head,
        "training": record,
    }
    return to_safetensors(tensors, header)


def pack_network(
    network: IHFNetwork, encoder_hash: str, name: str, record: Mapping[str, Any]
) -> bytes:
    """A network in half precision, with its architecture, its encoder's hash and training
    record."""
    header = {
        "format": NETWORK_FORMAT,
        "name": name,
        "architecture": attrs.asdict(network.architecture),
        "encoder": encoder_hash,
        "training": record,
    }
    return to_safetensors(
        {key: value.half() for key, value in network.state_dict().items()}, header
    )


def pack_segmenter(segmenter: Segmenter, record: Mapping[str, Any]) -> bytes:
    """A network that finds brain and tissues, in half precision, with its training record."""
    header = {"format": SEGMENTER_FORMAT, "widths": segmenter.widths, "training": record}
    return to_safetensors(
        {key: value.half() for key, value in segmenter.state_dict().items()}, header
    )


def segmenter_hash() -> str:
    """sha256 of the shipped network that finds brain and tissues."""
    return str(read_safetensors(packaged_file(SEGMENTER_FILE), SEGMENTER_FORMAT)[1]["sha256"])


def load_segmenter(path: Path | None = None) -> Segmenter:
    """The network in ``path`` (the shipped one by default) that finds brain and tissues."""
    path = path or packaged_file(SEGMENTER_FILE)
    tensors, header = read_safetensors(path, SEGMENTER_FORMAT)
    segmenter = Segmenter(tuple(_stated(header, "widths", path)))
    _fill(segmenter, tensors, path)
    return segmenter


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict({key: value.float() for key, value in tensors.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise BadData(
            f"{path}: its tensors do not fit its header ({reason}); {REINSTALL_ADVICE}."
        ) from error
    module.eval().requires_grad_(requires_grad=False)


def _stated(header: Mapping[str, Any], key: str, path: Path) -> Any:
    if key not in header:
        raise BadData(f"{path}: its header says nothing of '{key}'; {REINSTALL_ADVICE}.")
    return header[key]


def load_encoder(path: Path | None = None) -> tuple[Encoder, str]:
    """The encoder in ``path`` (the shipped one by default) and its hash."""
    path = path or packaged_file("encoder.safetensors")
    tensors, header = read_safetensors(path, ENCODER_FORMAT)
    names_tissue = bool(_stated(header, "names_tissue", path))
    encoder = Encoder(int(_stated(header, "width", path)), has_tissue_head=names_tissue)
    _fill(encoder, tensors, path)
    return encoder, str(header["sha256"])


def _architecture(header: Mapping[str, Any], path: Path) -> Architecture:
    try:
        fields = dict(header["architecture"])
        fields |= {key: tuple(fields[key]) for key in ("splits", "hidden")}
        return Architecture(**fields)
    except (KeyError, TypeError) as error:
        raise BadData(
            f"{path}: its header names no usable architecture; {REINSTALL_ADVICE}."
        ) from error


def load_model(
    path: Path | None = None, device: str = "cpu", *, encoder_path: Path | None = None
) -> ModelBundle:
    """Load network and encoder (the shipped ones by default) and check that they belong together.

    The encoder of a network that is given is the one beside it, as ``ihf train`` leaves them, if
    there is one.

    Raises
    ------
    BadData
        A file is unreadable, altered, or the network was trained with another encoder.
    """
    if path is not None and encoder_path is None:
        beside = path.with_name("encoder.safetensors")
        encoder_path = beside if beside.is_file() else None
    path = path or packaged_file("network.safetensors")
    encoder, encoder_hash = load_encoder(encoder_path)
    tensors, header = read_safetensors(path, NETWORK_FORMAT)
    if header.get("encoder") != encoder_hash:
        raise BadData(
            f"{path}: was trained with another encoder; name the encoder that belongs to it."
        )
    network = IHFNetwork(_architecture(header, path))
    _fill(network, tensors, path)
    where = torch.device(device)
    return ModelBundle(
        encoder=encoder.to(where),
        network=network.to(where),
        name=str(header.get("name", path.stem)),
        hash=str(header["sha256"]),
        encoder_hash=encoder_hash,
        record=dict(header.get("training", {})),
        device=where,
    )
