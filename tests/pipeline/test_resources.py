"""What the settings of a run stand for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bids_ihf.config import RunConfig
from bids_ihf.pipeline.resources import resolve_target
from bids_ihf.targets.target_file import builtin_path


@pytest.mark.parametrize("name", ["site.safetensors", "site"])
def test_a_target_file_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The steps of an image run in folders of their own."""
    shutil.copy(builtin_path("GE"), tmp_path / "site.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IHF_HARMONY_TARGETS", ".")
    resolved = resolve_target(RunConfig(tmp_path, tmp_path / "out", target=name))
    assert resolved.spec == str(tmp_path / "site.safetensors")
    assert resolve_target(RunConfig(tmp_path, tmp_path / "out", target="ge")).spec == "ge"
