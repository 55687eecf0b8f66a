"""An output folder holds the results of one program and one dataset, or is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bids_ihf.bids.dataset_files import dataset_description
from bids_ihf.bids.source_dataset import require_same_dataset
from bids_ihf.errors import UsageError


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ({"Name": "x", "GeneratedBy": [{"Name": "fMRIPrep", "Version": "24.1.0"}]}, "fMRIPrep"),
        ({"Name": "An old pipeline", "GeneratedBy": {}}, "An old pipeline"),
        (None, "another program"),
    ],
)
def test_the_folder_of_another_program_is_refused(
    tmp_path: Path, description: dict[str, object] | None, name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Its brain masks would be overwritten: names of derivatives agree."""
    mask = tmp_path / "out/sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    mask.parent.mkdir(parents=True)
    mask.touch()
    if description:
        (tmp_path / "out/dataset_description.json").write_text(json.dumps(description))
    with pytest.raises(UsageError, match=f"results of {name}: name another OUT_DIR"):
        require_same_dataset(tmp_path / "out", tmp_path)
    require_same_dataset(tmp_path / "out", tmp_path, allow_other=True)
    assert "they are mixed" in caplog.text


def test_empty_folders_and_own_results_are_used(tmp_path: Path) -> None:
    (tmp_path / "out/sub-01/log").mkdir(parents=True)  # a script may make folders before
    require_same_dataset(tmp_path / "out", tmp_path)
    description = dataset_description(tmp_path / "out", tmp_path)
    (tmp_path / "out/dataset_description.json").write_text(json.dumps(description))
    require_same_dataset(tmp_path / "out", tmp_path)


def test_own_results_without_their_description_are_used(tmp_path: Path) -> None:
    """A full disk may have kept a stopped run from writing it."""
    out = tmp_path / "out"
    mask = out / "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    mask.parent.mkdir(parents=True)
    mask.touch()
    with pytest.raises(UsageError, match="another program"):
        require_same_dataset(out, tmp_path)
    log = out / "sub-01/log/run/ihf_harmony.log"
    log.parent.mkdir(parents=True)
    log.touch()
    require_same_dataset(out, tmp_path)
