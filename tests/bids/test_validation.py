from __future__ import annotations

import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.bids import validation
from bids_ihf.bids.discovery import find_images
from bids_ihf.bids.images import SourceImage
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


def validate(root: Path, subjects: list[str]) -> list[SourceImage]:
    return validate_input(
        root, [image for label in subjects for image in find_images(root, label)]
    )


def test_a_valid_dataset_passes_whole_and_in_part(raw: Path) -> None:
    validate(raw, ["01", "sub-02"])
    validate(raw, ["01"])
    assert not list(raw.rglob("deno*"))


def test_an_error_of_one_image_is_its_problem_alone(raw: Path) -> None:
    (raw / "sub-02/anat/sub-02_T1w.json").write_text('{"Manufacturer": ["SIEMENS"]}')
    sub_01, t1w, t2w = validate(raw, ["01", "02"])
    assert t1w.problem is not None
    assert t1w.problem.error is InvalidBIDS
    assert "sub-02_T1w" in t1w.problem.message
    assert "--skip-bids-validation" in t1w.problem.message
    assert (sub_01.problem, t2w.problem) == (None, None)


def test_errors_in_other_files_are_a_warning_with_counts(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in the public examples: EEG without content, events without stimuli, odd files."""
    (raw / "sub-02/eeg").mkdir()
    for name in ("eeg/sub-02_task-rest_eeg.edf", "anat/sub-02_foo.nii.gz"):
        (raw / "sub-02" / name).write_bytes(b"")
    (raw / "sub-02/eeg/sub-02_task-rest_eeg.json").write_text("{")
    (raw / "sub-02/eeg/sub-02_task-rest_events.tsv").write_text(
        "onset\tduration\tstim_file\n1\t1\tgone.jpg\n"
    )
    (raw / "sub-02/anat/sub-02_T1w.nii.gz").write_bytes(b"")
    (raw / "participants.tsv").write_text("participant_id\nsub-01\n")
    images = validate(raw, ["01", "02"])
    assert [image.path.name for image in images] == [
        "sub-01_T1w.nii.gz",
        "sub-02_T1w.nii.gz",
        "sub-02_T2w.nii.gz",
    ]
    assert [image.problem for image in images] == [None, None, None]
    assert "errors in files and fields that are not used" in caplog.text
    assert "1 NOT_INCLUDED" in caplog.text


def test_a_missing_field_that_is_not_read_is_a_warning(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """QSIPrep's series have no ``SkullStripped``, which BIDS requires of derivatives."""
    description = '{"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}'
    (raw / "dataset_description.json").write_text(description)
    for path in raw.glob("sub-*/anat/*.nii.gz"):
        path.rename(path.with_name(path.name.replace("_T", "_desc-preproc_T")))
    images = validate(raw, ["01", "02"])
    assert [image.problem for image in images] == [None, None, None]
    assert "3 SIDECAR_KEY_REQUIRED" in caplog.text


def test_a_missing_description_is_an_error(raw: Path) -> None:
    (raw / "dataset_description.json").unlink()
    with pytest.raises(InvalidBIDS, match=r"(?i)dataset_description"):
        validate(raw, ["01"])


def test_unfetched_images_are_left_to_the_reader(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = raw / "sub-01/anat/sub-01_T1w.nii.gz"
    path.unlink()
    path.symlink_to("../../.git/annex/objects/KEY")
    (raw / "sub-01/anat/sub-01_T1w.json").write_text('{"EchoTime": 0.1}')
    validate(raw, ["01"])
    assert "not fetched" in caplog.text


def test_a_truncated_image_is_left_to_the_reader(raw: Path) -> None:
    path = raw / "sub-01/anat/sub-01_T1w.nii.gz"
    path.write_bytes(path.read_bytes()[:40])
    validate(raw, ["01"])


def test_a_missing_validator_is_a_warning(
    raw: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(validation, "find_validator", lambda: None)
    validate(raw, ["01"])
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
    monkeypatch.setattr(validation, "find_validator", lambda: str(binary))
    validate(raw, ["01"])
    assert "exit code 7: no memory" in caplog.text
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(PermissionError("noexec"))
    )
    validate(raw, ["01"])
    assert "noexec" in caplog.text
