"""The target that a name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from bids_ihf.errors import BadData, UsageError
from bids_ihf.network.checkpoint import ModelBundle, load_model
from bids_ihf.targets.build import TARGETS_FOLDER_VARIABLE, load_target, modality_of_file
from bids_ihf.targets.target_file import builtin_path, pack_target, read_target


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


def test_the_modality_of_a_file_is_that_of_its_name_unless_its_sidecar_knows_better(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = tmp_path / "sub-1_T2w.nii.gz"
    assert modality_of_file(image) == "T2w"
    assert modality_of_file(tmp_path / "scan.nii", "FLAIR") == "FLAIR"
    sidecar = tmp_path / "sub-1_T2w.json"
    sidecar.write_text('{"InversionTime": 1.8}')
    assert not caplog.text
    assert modality_of_file(image) == "FLAIR"
    assert "sub-1_T2w.nii.gz: its name says T2w, but InversionTime 1.8 s" in caplog.text
    sidecar.write_text("{")
    with pytest.raises(BadData, match=r"sub-1_T2w\.json, line 1"):
        modality_of_file(image)


def test_a_vendor_has_all_anatomical_contrasts_and_names_its_protocols() -> None:
    target = read_target(builtin_path("Siemens"))
    assert target.modalities == ("FLAIR", "T1w", "T2w")
    assert all(f"{modality}_protocol" in target.record for modality in target.modalities)
    without = evolve(target, profiles={"T1w": target.profile("T1w")})
    with pytest.raises(BadData, match=r"Siemens: this target has no FLAIR profile .*T1w"):
        without.profile("FLAIR")
