"""Tensor files: safetensors with a JSON header, checked by their hashes when they are read."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from bids_ihf.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


HEADER_KEY = "ihf-harmony"


TENSOR_READ_ERRORS = (OSError, SafetensorError, ValueError, TypeError, RecursionError)
"""What safetensors and json raise where a file is not what it says."""


REINSTALL_ADVICE = "reinstall the package or name another file"


def packaged_file(name: str) -> Path:
    """Path of a file in the package's ``data`` folder."""
    return Path(str(resources.files("bids_ihf") / "data" / name))


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, types, shapes and bytes of all tensors, independent of their order."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def header_hash(header: Mapping[str, Any]) -> str:
    """sha256 over a header, less this hash itself."""
    rest = {key: value for key, value in header.items() if key != "header_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def to_safetensors(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> bytes:
    """Tensors and a JSON header to the bytes of a safetensors file; adds the sha256 of both."""
    # As it will be read: keys that are numbers become text.
    full = json.loads(json.dumps({**header, "sha256": tensor_hash(tensors)}))
    full["header_sha256"] = header_hash(full)
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    # One entry, since safetensors writes several in no fixed order and files are to be
    # reproducible.
    return save(plain, {HEADER_KEY: json.dumps(full, sort_keys=True)})


def read_safetensors(path: Path, expected: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file made by :func:`pack`.

    Raises
    ------
    BadData
        The file is missing, no safetensors file, of another format, or was altered.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(json.loads((file.metadata() or {}).get(HEADER_KEY, "{}")))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except TENSOR_READ_ERRORS as error:
        raise BadData(
            f"{path}: not a readable safetensors file ({error}); {REINSTALL_ADVICE}."
        ) from error
    if header.get("format") != expected:
        found = header.get("format", "no format")
        raise BadData(f"{path}: holds '{found}' where '{expected}' is needed; {REINSTALL_ADVICE}.")
    # Files of the first version have no hash of their header.
    whole = header.get("header_sha256") in (None, header_hash(header))
    if not whole or header.get("sha256") != tensor_hash(tensors):
        raise BadData(f"{path}: its sha256 does not match its content; {REINSTALL_ADVICE}.")
    return tensors, header
