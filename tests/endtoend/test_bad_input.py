"""Bad input: one sentence that names the file, and the documented exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.endtoend.conftest import App

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "sub-01_ses-ge_T1w.nii.gz"


@pytest.fixture
def one(stripped: Path, tmp_path: Path) -> Path:
    """A dataset with a single T1w image."""
    root = tmp_path / "one"
    source = stripped / "sub-01/ses-ge/anat"
    folder = root / "sub-01/ses-ge/anat"
    folder.mkdir(parents=True)
    for name in (NAME, NAME.replace(".nii.gz", ".json")):
        shutil.copy(source / name, folder / name)
    for path in stripped.iterdir():
        if path.is_file():
            shutil.copy(path, root / path.name)
    return root


def image_of(root: Path) -> Path:
    return root / "sub-01/ses-ge/anat" / NAME


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("../../../.git/annex/objects/gone")


@pytest.mark.parametrize("spoil", [truncate, dangling])
def test_bad_image(app: App, one: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Two of many kinds: tests/reliability has them all, in one run."""
    spoil(image_of(one))
    done = app(one, tmp_path / "out", "--target", "GE")
    assert done.code == 65, done.err
    errors = [line for line in done.err.splitlines() if f" ERROR sub-01_ses-ge_T1w: {one}" in line]
    assert len(errors) == 1, done.err
    assert NAME in errors[0]
    assert "Traceback" not in done.err
    (crash,) = (tmp_path / "out/sub-01/log").glob("*/crash-*.txt")
    assert str(crash) in errors[0]
    assert list((tmp_path / "out").glob("**/*.nii.gz")) == []


def test_one_bad_image_among_good_ones(app: App, stripped: Path, tmp_path: Path) -> None:
    root = tmp_path / "bids"
    shutil.copytree(stripped, root)
    truncate(image_of(root))
    words = ("--target", "GE", "--session-label", "ge", "--n-procs", "2", "-m", "T1w", "T2w")
    done = app(root, tmp_path / "out", *words)
    assert done.code == 1, done.err
    assert "1 harmonized, 0 already done, 1 failed" in done.err
    assert done.err.count("NOTICE Report: ") == 1
    assert "truncated" in (tmp_path / "out/sub-01.html").read_text()
    assert (tmp_path / "out/sub-01/ses-ge/anat/sub-01_ses-ge_desc-harmonized_T2w.json").is_file()


def test_missing_sidecar(app: App, one: Path, tmp_path: Path) -> None:
    image_of(one).with_name(NAME.replace(".nii.gz", ".json")).unlink()
    done = app(one, tmp_path / "out", "--target", "GE")
    assert done.code == 0, done.err
    warning = next(line for line in done.err.splitlines() if "WARNING" in line)
    assert NAME in warning
    assert "--source-vendor" in warning
    (sidecar,) = (tmp_path / "out").glob("**/*desc-harmonized_T1w.json")
    assert json.loads(sidecar.read_text())["SourceVendor"] == "unknown"


def test_unknown_target(app: App, one: Path, tmp_path: Path) -> None:
    done = app(one, tmp_path / "out", "--target", "Acme")
    assert done.code == 2
    assert done.last.startswith("ihf-harmony: error: ")
    assert "Acme" in done.last
    assert "Siemens" in done.last
    assert not (tmp_path / "out").exists()


def test_target_that_is_no_target(app: App, one: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"nothing")
    done = app(one, tmp_path / "out", "--target", wrong)
    assert done.code == 65
    assert str(wrong) in done.last


def test_output_is_input(app: App, one: Path) -> None:
    done = app(one, one, "--target", "GE")
    assert done.code == 2
    assert "OUT_DIR is BIDS_DIR" in done.last


def test_nothing_selected(app: App, one: Path, tmp_path: Path) -> None:
    for words in (["--participant-label", "77"], ["--session-label", "77"], ["-m", "T2w"]):
        done = app(one, tmp_path / "out", "--target", "GE", *words)
        assert done.code == 18, done.err
        assert done.last.startswith(f"ihf-harmony: error: {one}")


def test_explicit_gpu_that_is_not_there(app: App, one: Path, tmp_path: Path) -> None:
    done = app(one, tmp_path / "out", "--target", "GE", options=["--device", "cuda:63"])
    assert done.code == 2
    assert "cuda:63 is not available" in done.last


def test_invalid_dataset(app: App, one: Path, tmp_path: Path) -> None:
    (one / "sub-01/ses-ge/anat/notes.txt").write_text("not BIDS")
    options = ["--n-procs", "1", "--dry-run"]
    done = app(one, tmp_path / "out", "--target", "GE", options=options)
    assert done.code == 0  # nothing that is used is wrong
    assert "BIDS validator" in done.err
    (one / "dataset_description.json").write_text("{}")
    done = app(one, tmp_path / "out", "--target", "GE", options=options)
    assert done.code == 16
    assert "--skip-bids-validation" in done.last


def test_a_series_without_directions_does_not_stop_another(
    app: App, series: Path, tmp_path: Path
) -> None:
    (series / "sub-01/ses-ge/dwi/sub-01_ses-ge_dwi.bvec").unlink()
    done = app(series, tmp_path / "out", "--target", "Philips", "-m", "dwi")
    assert done.code == 1, done.err
    assert "1 harmonized, 0 already done, 1 failed" in done.err
    (error,) = [line for line in done.err.splitlines() if " ERROR sub-01_ses-ge_dwi: " in line]
    assert "has no .bvec file" in error
    assert "Traceback" not in done.err
    folder = tmp_path / "out/sub-01/ses-siemens/dwi"
    assert (folder / "sub-01_ses-siemens_desc-harmonized_dwi.json").is_file()
    assert list((tmp_path / "out").glob("**/ses-ge/**/*.nii.gz")) == []
