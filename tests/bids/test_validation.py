from __future__ import annotations

import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.bids import validation as validate
from bids_ihf.bids.validation import find_validator, validate_input
from bids_ihf.errors import InvalidBIDS

pytestmark = pytest.mark.skipif(find_validator() is None, reason="needs bids-validator-deno")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two participants, of which only the second has a T2w; README and so on as BIDS asks."""
    root = tmp_path / "raw data"
    image = nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4))
    image.header.set_xyzt_units("mm")
    for name in ("sub-01/anat/sub-01_T1w", "sub-02/anat/sub-02_T1w", "sub-02/anat/sub-02_T2w"):
        path = root / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, path)
    description = '{"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "raw"}'
    (root / "dataset_description.json").write_text(description)
    (root / "README").write_text("A test.")
    (root / "T2w.json").write_text('{"EchoTime": 0.1}')
    (root / "participants.tsv").write_text("participant_id\nsub-01\nsub-02\n")
    return root


def test_a_valid_dataset_passes_whole_and_in_part(raw: Path) -> None:
    validate_input(raw, ["01", "sub-02"])
    validate_input(raw, ["01"])
    assert not list(raw.rglob("deno*"))


def test_an_error_is_named_with_the_way_out(raw: Path) -> None:
    (raw / "sub-02/anat/sub-02_foo.nii.gz").write_bytes(b"x")
    validate_input(raw, ["01"])
    with pytest.raises(
        InvalidBIDS, match=r"sub-02_foo\.nii\.gz.*--skip-bids-validation"
    ) as caught:
        validate_input(raw, ["02"])
    assert caught.value.exit_code == 16


def test_a_missing_description_is_an_error(raw: Path) -> None:
    (raw / "dataset_description.json").unlink()
    with pytest.raises(InvalidBIDS, match=r"(?i)dataset_description"):
        validate_input(raw, ["01"])


def test_unfetched_images_are_left_to_the_reader(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = raw / "sub-01/anat/sub-01_T1w.nii.gz"
    path.unlink()
    path.symlink_to("../../.git/annex/objects/KEY")
    (raw / "sub-01/anat/sub-01_T1w.json").write_text('{"EchoTime": 0.1}')
    validate_input(raw, ["01"])
    assert "not fetched" in caplog.text


def test_a_truncated_image_is_left_to_the_reader(raw: Path) -> None:
    path = raw / "sub-01/anat/sub-01_T1w.nii.gz"
    path.write_bytes(path.read_bytes()[:40])
    validate_input(raw, ["01"])


def test_a_missing_validator_is_a_warning(
    raw: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(validate, "find_validator", lambda: None)
    validate_input(raw, ["01"])
    assert "NOT validated" in caplog.text


def test_a_failing_validator_is_a_warning(
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    binary = tmp_path / "validator"
    binary.write_text("#!/bin/sh\necho no memory >&2\nexit 7\n")
    binary.chmod(0o755)
    monkeypatch.setattr(validate, "find_validator", lambda: str(binary))
    validate_input(raw, ["01"])
    assert "exit code 7: no memory" in caplog.text
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(PermissionError("noexec"))
    )
    validate_input(raw, ["01"])
    assert "noexec" in caplog.text
