"""What surrounds nipype: temporary files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from bids_ihf.pipeline.engine import prepare_environment


def test_temporary_files_go_to_the_work_folder_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())  # put back afterwards
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    prepare_environment(tmp_path / "work")
    assert Path(tempfile.gettempdir()) == tmp_path / "work/tmp"
    assert os.environ["TMPDIR"] == str(tmp_path / "work/tmp")
    tempfile.TemporaryFile().close()


def test_temporary_files_stay_where_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    prepare_environment(tmp_path / "work")
    assert tempfile.gettempdir() == str(tmp_path)
    assert not (tmp_path / "work/tmp").exists()
