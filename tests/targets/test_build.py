"""The target that a name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from bids_ihf.errors import UsageError
from bids_ihf.network.checkpoint import ModelBundle, load_model
from bids_ihf.targets.build import TARGETS_FOLDER_VARIABLE, load_target
from bids_ihf.targets.target import builtin_path, pack_target, read_target


@pytest.fixture(scope="module")
def model() -> ModelBundle:
    return load_model()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A laboratory's folder with a target of its own, and one with a vendor's name."""
    monkeypatch.setenv(TARGETS_FOLDER_VARIABLE, str(tmp_path))
    own = evolve(read_target(builtin_path("GE")), name="our Prisma")
    for name in ("prisma", "siemens"):
        (tmp_path / f"{name}.safetensors").write_bytes(pack_target(own))
    return tmp_path


@pytest.mark.parametrize("name", ["prisma", "prisma.safetensors"])
def test_a_name_in_the_folder_of_targets(folder: Path, model: ModelBundle, name: str) -> None:
    assert load_target(name, model).name == "our Prisma"


def test_a_vendor_is_always_the_built_in_one(folder: Path, model: ModelBundle) -> None:
    assert load_target("siemens", model).name == "Siemens"


def test_an_unknown_name(folder: Path, model: ModelBundle) -> None:
    with pytest.raises(UsageError, match=r"nobody.*IHF_HARMONY_TARGETS"):
        load_target("nobody", model)
