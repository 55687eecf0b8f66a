"""Small datasets made of empty files: nothing here reads an image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Maker = Callable[..., Path]


@pytest.fixture
def dataset(tmp_path: Path) -> Maker:
    """Make a BIDS dataset, in a folder with a space, of the files named (None) or given (JSON)."""

    def make(*names: str, root: str = "my data", **sidecars: dict[str, Any]) -> Path:
        folder = tmp_path / root
        files: dict[str, Any] = {
            "dataset_description.json": {"Name": "Test", "BIDSVersion": "1.10.0"},
            **sidecars,
        }
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"not read here")
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(content))
        return folder

    return make
