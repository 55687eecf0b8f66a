"""Sidecars of the input, each read by itself: what is wrong with one is named by file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bids_ihf.bids.images import not_fetched_message, sidecar_path
from bids_ihf.errors import BadData, InvalidBIDS

_NOT_JSON_NUMBER = re.compile(r"[:\[,]\s*(NaN|-?Infinity)\b")


def merged_metadata(sidecars: Iterable[Path]) -> dict[str, Any]:
    """Merge sidecars; a field of a later one replaces that of those before.

    Raises
    ------
    InvalidBIDS
        One cannot be read.
    """
    metadata: dict[str, Any] = {}
    for path in sidecars:
        metadata |= read_sidecar(path)
    return metadata


def metadata_beside(image: Path) -> dict[str, Any]:
    """Content of the sidecar beside an image outside a dataset; empty without one.

    Raises
    ------
    BadData
        It cannot be read.
    """
    path = sidecar_path(image)
    if not path.is_file():
        return {}
    try:
        return read_sidecar(path)
    except InvalidBIDS as error:
        raise BadData(str(error)) from error


def read_sidecar(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InvalidBIDS
        It cannot be read; with the line and the reason.
    """
    content: object = None
    try:
        text = path.read_bytes().decode()
        content = json.loads(text)
        number = _NOT_JSON_NUMBER.search(text)
        if number:
            line = text.count("\n", 0, number.start(1)) + 1
            problem = f"line {line}: {number[1]} is no number in JSON, write null"
        elif isinstance(content, dict):
            return content
        else:
            problem = f"line 1: holds {type(content).__name__} where an object {{...}} is expected"
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = f"line {line}: not UTF-8 text (byte 0x{error.object[error.start]:02x})"
    except json.JSONDecodeError as error:
        bom = error.doc.startswith("\ufeff")
        reason = "begins with a byte order mark" if bom else error.msg
        problem = f"line {error.lineno}: {reason}"
    except RecursionError:
        problem = "line 1: nested too deeply"
    except ValueError as error:  # a number of thousands of digits
        problem = str(error)
    except OSError as error:
        if path.is_symlink() and not path.exists():
            raise InvalidBIDS(not_fetched_message(path)) from error
        problem = str(error.strerror)
    raise InvalidBIDS(f"{path}, {problem}: correct it.")
