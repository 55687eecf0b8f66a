"""``ihf``: commands, and one line for what is expected to go wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_ihf.cli.toolbox import main
from bids_ihf.errors import BadData
from bids_ihf.io.paths import packaged_file


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.parametrize("words", [[], ["no-such-tool"], ["target"], ["restore", "a.nii.gz"]])
def test_usage(words: list[str]) -> None:
    assert call(*words) == 2


def test_demo_data_needs_an_empty_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "something").write_text("")
    assert call("demo-data", str(tmp_path)) == 73
    error = capsys.readouterr().err
    assert error.startswith("ihf: error: ")
    assert str(tmp_path) in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("output", ["a_desc-harmonized_T1w.nii.gz", "b.txt"])
def test_restore_refuses(tmp_path: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    harmonized = tmp_path / "a_desc-harmonized_T1w.nii.gz"
    assert call("restore", str(harmonized), "-o", str(tmp_path / output)) == 2
    assert output in capsys.readouterr().err


def test_restore_replaces_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harmonized = tmp_path / "a_desc-harmonized_T1w.nii.gz"
    change, mine = tmp_path / "a_desc-change_T1w.nii.gz", tmp_path / "mine.nii.gz"
    for path, code, text in ((change, 2, "one of the inputs"), (mine, 73, "exists already")):
        path.write_bytes(b"mine")
        assert call("restore", str(harmonized), "-o", str(path)) == code
        assert text in capsys.readouterr().err
        assert path.read_bytes() == b"mine"


def test_a_target_of_the_laboratory_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = packaged_file("target-ge.safetensors")
    (tmp_path / "siteA.safetensors").write_bytes(file.read_bytes())
    monkeypatch.setenv("IHF_HARMONY_TARGETS", str(tmp_path))
    assert call("target", "show", "siteA") == 0
    assert "name: GE" in capsys.readouterr().out


def test_target_build_refuses_other_names(tmp_path: Path) -> None:
    assert call("target", "build", "a.nii.gz", "-o", str(tmp_path / "a.txt")) == 73


def test_target_build_needs_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "a.safetensors")
    assert call("target", "build", "notes.txt", "-o", output) == 2
    assert "notes.txt" in capsys.readouterr().err
    assert call("target", "build", str(tmp_path), "-o", output) == 18


def test_unknown_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("target", "show", "Acme") == 2
    assert "Acme" in capsys.readouterr().err


def test_interrupt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("bids_ihf.lab.commands.demo_data.run", interrupt)
    assert call("demo-data", str(tmp_path)) == 130


def test_expected_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise BadData("x.nii.gz: is empty; fetch it again.")

    monkeypatch.setattr("bids_ihf.lab.commands.demo_data.run", fail)
    assert call("demo-data", str(tmp_path)) == 65
    assert capsys.readouterr().err == "ihf: error: x.nii.gz: is empty; fetch it again.\n"
