"""Tensor files: safetensors with a JSON header, verified by their hashes on reading."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from bids_ihf.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

HEADER_KEY = "ihf-harmony"
"""Key of the JSON header among the file's metadata."""

REINSTALL_ADVICE = "reinstall the package or name another file"

TENSOR_READ_ERRORS = (OSError, SafetensorError, ValueError, TypeError, RecursionError)
"""What safetensors and json raise for corrupt files."""


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the names, types, shapes and bytes of all tensors, in any order."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def header_hash(header: Mapping[str, Any]) -> str:
    """sha256 over a header without its own hash."""
    hashed = {key: value for key, value in header.items() if key != "header_sha256"}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()


def to_safetensors(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> bytes:
    """Encode tensors and a JSON header as a safetensors file, with the sha256 of both."""
    from safetensors.torch import save

    # Through JSON, so that the hash is of what will be read: numeric keys become text.
    full = json.loads(json.dumps({**header, "sha256": tensor_hash(tensors)}))
    full["header_sha256"] = header_hash(full)
    contiguous = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    # A single entry: safetensors writes several in no fixed order, and files must be reproducible.
    return save(contiguous, {HEADER_KEY: json.dumps(full, sort_keys=True)})


def read_safetensors(path: Path, expected_format: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the header of a file written by `to_safetensors`.

    Raises
    ------
    BadData
        The file is missing, not a safetensors file, of another format, or was altered.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(json.loads((file.metadata() or {}).get(HEADER_KEY, "{}")))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except TENSOR_READ_ERRORS as error:
        raise BadData(
            f"{path}: not a readable safetensors file ({error}); {REINSTALL_ADVICE}."
        ) from error
    if header.get("format") != expected_format:
        file_format = header.get("format", "no format")
        raise BadData(
            f"{path}: holds '{file_format}' where '{expected_format}' is needed; "
            f"{REINSTALL_ADVICE}."
        )
    # Files of the first version have no hash of their header.
    intact = header.get("header_sha256") in (None, header_hash(header))
    if not intact or header.get("sha256") != tensor_hash(tensors):
        raise BadData(f"{path}: its sha256 does not match its content; {REINSTALL_ADVICE}.")
    return tensors, header


def flatten_groups(groups: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, Tensor]:
    """Tensors named ``group.name`` of arrays by group and name."""
    import torch

    return {
        f"{group}.{name}": torch.from_numpy(array)
        for group, arrays in groups.items()
        for name, array in arrays.items()
    }


def group_tensors(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays by group and name of tensors named ``group.name``, groups sorted."""
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for key in sorted(tensors):
        group, _, name = key.partition(".")
        groups.setdefault(group, {})[name] = tensors[key].numpy()
    return groups
