"""Weights on disk: safetensors files with a JSON header, verified when loaded.

The header holds the architecture, a sha256 over the tensors, for a network the sha256 of the
encoder it was trained with, and a record of the training.  Weights are kept in half precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import torch
from attrs import frozen
from torch import Tensor, nn

from bids_ihf.errors import BadData
from bids_ihf.io.paths import packaged_file
from bids_ihf.io.tensors import REINSTALL_ADVICE, read_safetensors, to_safetensors
from bids_ihf.network.encoder import Encoder
from bids_ihf.network.flow import Architecture, IHFNetwork
from bids_ihf.network.unet import Segmenter

ENCODER_FORMAT = "ihf-harmony encoder 1"
NETWORK_FORMAT = "ihf-harmony network 1"
SEGMENTER_FORMAT = "ihf-harmony segmenter 1"
SEGMENTER_FILE = "brain.safetensors"
MODALITY_BIAS = "modality_bias"


@frozen
class ModelBundle:
    """A network with its encoder, ready for inference on `device`.

    The hashes are sha256 over their tensors; `record` says how the network was trained.
    """

    encoder: Encoder
    network: IHFNetwork
    name: str
    hash: str
    encoder_hash: str
    record: Mapping[str, Any]
    device: torch.device

    def was_trained_on(self, modality: str) -> bool:
        """Whether the network was trained on images of a modality, as far as its record tells."""
        data = self.record.get("settings", {}).get("data", {})
        return "modalities" not in data or modality in data["modalities"]


def pack_encoder(encoder: Encoder, record: Mapping[str, Any]) -> bytes:
    """Serialize an encoder with the record of its training."""
    header = {
        "format": ENCODER_FORMAT,
        "width": encoder.width,
        "names_tissue": encoder.has_tissue_head,
        "training": record,
    }
    return _pack(encoder, header)


def pack_network(
    network: IHFNetwork, encoder_hash: str, name: str, record: Mapping[str, Any]
) -> bytes:
    """Serialize a network with the hash of its encoder and the record of its training."""
    header = {
        "format": NETWORK_FORMAT,
        "name": name,
        "architecture": attrs.asdict(network.architecture),
        "encoder": encoder_hash,
        "training": record,
    }
    return _pack(network, header)


def pack_segmenter(segmenter: Segmenter, record: Mapping[str, Any]) -> bytes:
    """Serialize a segmentation network with the record of its training."""
    header = {"format": SEGMENTER_FORMAT, "widths": segmenter.widths, "training": record}
    return _pack(segmenter, header)


def _pack(module: nn.Module, header: Mapping[str, Any]) -> bytes:
    return to_safetensors(
        {key: value.half() for key, value in module.state_dict().items()}, header
    )


def segmenter_hash() -> str:
    """sha256 of the shipped segmentation network."""
    return str(read_safetensors(packaged_file(SEGMENTER_FILE), SEGMENTER_FORMAT)[1]["sha256"])


def load_segmenter(path: Path | None = None) -> Segmenter:
    """Load a segmentation network (default: the shipped one); `BadData` if it is altered."""
    path = path or packaged_file(SEGMENTER_FILE)
    tensors, header = read_safetensors(path, SEGMENTER_FORMAT)
    segmenter = Segmenter(tuple(_header_value(header, "widths", path)))
    _load_weights(segmenter, tensors, path)
    return segmenter


def load_encoder(path: Path | None = None) -> tuple[Encoder, str]:
    """Load an encoder (default: the shipped one) and its hash; `BadData` if it is altered."""
    path = path or packaged_file("encoder.safetensors")
    tensors, header = read_safetensors(path, ENCODER_FORMAT)
    encoder = Encoder(
        int(_header_value(header, "width", path)),
        has_tissue_head=bool(_header_value(header, "names_tissue", path)),
    )
    # Encoders of version 0.1.0 are not told the modality.
    _load_weights(encoder, {MODALITY_BIAS: encoder.modality_bias, **tensors}, path)
    return encoder, str(header["sha256"])


def load_model(
    path: Path | None = None, device: str = "cpu", *, encoder_path: Path | None = None
) -> ModelBundle:
    """Load a network and its encoder and check that they belong together.

    Parameters
    ----------
    path
        File of the network; default: the shipped one.
    device
        PyTorch device.
    encoder_path
        File of the encoder; default: ``encoder.safetensors`` beside `path`, where ``ihf train``
        writes it, or else the shipped one.

    Raises
    ------
    BadData
        A file is unreadable or altered, or the network was trained with another encoder.
    """
    if path is not None and encoder_path is None:
        beside = path.with_name("encoder.safetensors")
        encoder_path = beside if beside.is_file() else None
    path = path or packaged_file("network.safetensors")
    encoder, encoder_hash = load_encoder(encoder_path)
    tensors, header = read_safetensors(path, NETWORK_FORMAT)
    if header.get("encoder") != encoder_hash:
        raise BadData(f"{path}: was trained with another encoder; put its encoder beside it.")
    network = IHFNetwork(_architecture(header, path))
    _load_weights(network, tensors, path)
    torch_device = torch.device(device)
    return ModelBundle(
        encoder=encoder.to(torch_device),
        # Convolutions are faster with channels last: by a tenth of the time on a processor.
        network=network.to(torch_device).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        name=str(header.get("name", path.stem)),
        hash=str(header["sha256"]),
        encoder_hash=encoder_hash,
        record=dict(header.get("training", {})),
        device=torch_device,
    )


@lru_cache(maxsize=2)
def load_model_cached(device: str, network: Path | None = None) -> ModelBundle:
    """A network (the shipped one) with its encoder on a device, loaded once in each process."""
    return load_model(network, device=device)


def _load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict({key: value.float() for key, value in tensors.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise BadData(
            f"{path}: its tensors do not match its header ({reason}); {REINSTALL_ADVICE}."
        ) from error
    module.eval().requires_grad_(requires_grad=False)


def _header_value(header: Mapping[str, Any], key: str, path: Path) -> Any:
    if key not in header:
        raise BadData(f"{path}: its header lacks '{key}'; {REINSTALL_ADVICE}.")
    return header[key]


def _architecture(header: Mapping[str, Any], path: Path) -> Architecture:
    try:
        fields = dict(header["architecture"])
        fields |= {
            key: tuple(fields[key]) for key in ("splits", "hidden", "local") if key in fields
        }
        return Architecture(**fields)
    except (KeyError, TypeError) as error:
        raise BadData(
            f"{path}: its header holds no valid architecture; {REINSTALL_ADVICE}."
        ) from error
