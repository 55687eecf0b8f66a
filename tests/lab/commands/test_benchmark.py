"""``ihf benchmark``: its options and what it refuses."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from bids_ihf.cli.toolbox import main
from bids_ihf.lab.benchmarks.vendors.methods import IHF_HARMONY
from bids_ihf.lab.commands.benchmark import add_arguments
from bids_ihf.lab.commands.benchmark_runs import plan_of


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(("benchmark", *words))
    assert isinstance(end.value.code, int)
    return end.value.code


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["labels", "-o", "out", *words])


def test_a_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(str(tmp_path / "none"), "-o", str(tmp_path / "out")) == 65
    assert "no such folder" in capsys.readouterr().err


def test_no_label_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(str(tmp_path), "-o", str(tmp_path / "out")) == 65
    error = capsys.readouterr().err
    assert error.startswith("ihf: error: ")
    assert "NAME_dseg.nii.gz" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_person_without_a_label_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other_dseg.nii.gz").write_bytes(b"")
    assert call(str(tmp_path), "-o", str(tmp_path / "out")) == 65
    assert "head-13_dseg.nii.gz" in capsys.readouterr().err


def test_a_file_that_is_no_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for subject in ("a", "b"):
        (tmp_path / f"{subject}_dseg.nii.gz").write_bytes(b"")
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"no tensors")
    words = (str(tmp_path), "-o", str(tmp_path / "out"), "--people", "a", "--references", "b")
    assert call(*words, "--network", f"mine={wrong}") == 65
    assert "wrong.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["mine", "=a", "mine=/no/such/file"])
def test_networks_are_named_files(text: str) -> None:
    assert call("labels", "-o", "out", "--network", text) == 2


def test_plan(tmp_path: Path) -> None:
    plan = plan_of(parse())
    assert plan.subjects == ("head-13", "head-14", "head-15", "head-16")
    assert plan.modalities == ("T1w", "T2w")
    assert dict(plan.weights.networks) == {IHF_HARMONY: None}
    quick = plan_of(parse("--quick", "--people", "b", "a", "--modalities", "t2w", "T1w"))
    assert (quick.subjects, quick.modalities) == (("b",), ("T2w",))
    network = tmp_path / "n.safetensors"
    network.write_bytes(b"")
    weights = plan_of(parse("--model", str(tmp_path), "--network", f"bare={network}")).weights
    assert weights.encoder is None
    assert list(weights.networks.items()) == [
        (IHF_HARMONY, tmp_path / "network.safetensors"), ("bare", network),
    ]  # fmt: skip
    assert weights.targets["GE"] == str(tmp_path / "target-ge.safetensors")


def test_a_comparator_may_have_a_file_for_each_modality(tmp_path: Path) -> None:
    files = [tmp_path / "t1w.safetensors", tmp_path / "t2w.safetensors"]
    for file in files:
        file.write_bytes(b"")
    words = ("--comparator", f"MURD={files[0]}", f"MURD={files[1]}", f"cGAN={files[0]}")
    weights = plan_of(parse(*words)).weights
    assert dict(weights.comparators) == {"MURD": tuple(files), "cGAN": (files[0],)}
    assert not plan_of(parse()).weights.comparators


def test_diffusion_goes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("labels", "-o", "out", "--modality", "T1w", "dwi") == 2
    assert "--modalities dwi cannot be combined" in capsys.readouterr().err


def test_diffusion_needs_dipy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert call("labels", "-o", "out", "--modality", "dwi") == 2
    assert "ihf-harmony[dwi]" in capsys.readouterr().err


def test_diffusion_without_label_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dipy")
    assert call(str(tmp_path), "-o", str(tmp_path / "out"), "--modality", "dwi") == 65
    assert "NAME_dseg.nii.gz" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("labels", "--travellers", "bids")])
def test_one_input_is_named(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*words, "-o", "out") == 2
    assert "either LABELS_DIR or --travellers" in capsys.readouterr().err


def test_travellers_are_anatomical(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--travellers", "bids", "-o", "out", "--modality", "dwi") == 2
    assert "leave dwi out" in capsys.readouterr().err
