"""Volumes of other tools: their files, and which image they belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_ihf.bids.images import SourceImage
from bids_ihf.errors import BadData, UsageError
from bids_ihf.validation.scans import Scan
from bids_ihf.validation.volume_files import ToolRow, match_scans, read_tool_volumes

ASEG = """# Title Segmentation Statistics
# Measure BrainSeg, BrainSegVol, Brain Segmentation Volume, 1196000.000000, mm^3
# Measure EstimatedTotalIntraCranialVol, eTIV, Estimated Total Intracranial Volume, 1.5e6, mm^3
# Measure SurfaceHoles, SurfaceHoles, Total number of defect holes, 17, unitless
# ColHeaders  Index SegId NVoxels Volume_mm3 StructName normMean
  1   4     11432    11500.5  Left-Lateral-Ventricle    34.2
  2  17      4200     4250.0  Left-Hippocampus          76.0
"""
"""The lines of FreeSurfer 7's aseg.stats that matter."""


def scan(name: str, scanner: str = "GE") -> Scan:
    root = Path("/data")
    folder = "/".join(name.split("_")[:-1])
    return Scan(SourceImage.from_path(root / folder / "anat" / f"{name}.nii.gz", root), scanner)


SCANS = [scan(f"sub-{person}_ses-{ses}_T1w") for person in ("01", "02") for ses in ("a", "b")]


def test_a_folder_of_freesurfer(tmp_path: Path) -> None:
    for name in ("sub-01_ses-a", "sub-01_ses-b", "fsaverage"):
        (tmp_path / name / "stats").mkdir(parents=True)
    for name in ("sub-01_ses-a", "sub-01_ses-b"):
        (tmp_path / name / "stats/aseg.stats").write_text(ASEG)
    tool, rows = read_tool_volumes(tmp_path)
    found = match_scans(rows, SCANS)
    assert tool == "FreeSurfer"
    assert set(found) == set(SCANS[:2])
    assert found[SCANS[0]] == {
        "BrainSegVol": 1196.0,
        "eTIV": 1500.0,
        "Left-Lateral-Ventricle": 11.5005,
        "Left-Hippocampus": 4.25,
    }


def test_a_table_of_synthseg(tmp_path: Path) -> None:
    table = tmp_path / "synthseg.csv"
    table.write_text(
        "subject,total intracranial,left cerebral cortex\n"
        "sub-01_ses-a_desc-harmonized_T1w,1500000,250000\nsub-02_ses-b_T1w,1400000,nan\n"
    )
    tool, rows = read_tool_volumes(table)
    found = match_scans(rows, SCANS)
    assert tool == "synthseg"
    assert found[SCANS[0]] == {"total intracranial": 1500, "left cerebral cortex": 250}
    assert found[SCANS[3]] == {"total intracranial": 1400}


def test_folders_in_a_name_are_no_entities() -> None:
    path = "/data/my-study/sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"
    assert ToolRow(path, {}, Path()).entities == {"sub": "01", "ses": "2"}
    assert ToolRow("sub-01/ses-2/run-3", {}, Path()).entities == {
        "sub": "01", "ses": "2", "run": "3",
    }  # fmt: skip


def test_a_table_with_participant_and_session(tmp_path: Path) -> None:
    table = tmp_path / "volumes.tsv"
    table.write_text("participant_id\tsession_id\tGM\nsub-02\tses-a\t600000\nsub-01\t\t500000\n")
    found = match_scans(read_tool_volumes(table)[1], SCANS)
    assert found == {SCANS[2]: {"GM": 600}}  # sub-01 alone could be either session


def test_two_rows_of_one_image(tmp_path: Path) -> None:
    table = tmp_path / "volumes.tsv"
    table.write_text("filename\tGM\nsub-02_ses-a\t1\nsub-02/ses-a\t2\n")
    with pytest.raises(BadData, match="both name"):
        match_scans(read_tool_volumes(table)[1], SCANS)


def test_unusable_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a table nor a folder"):
        read_tool_volumes(tmp_path / "absent.tsv")
    with pytest.raises(BadData, match=r"stats/aseg\.stats"):
        read_tool_volumes(tmp_path)
    table = tmp_path / "volumes.tsv"
    table.write_text("name\tGM\nsub-02_ses-a\t1\n")
    with pytest.raises(BadData, match="participant_id"):
        read_tool_volumes(table)
    table.write_text("filename\tGM\nsub-02_ses-a\tlarge\n")
    with pytest.raises(BadData, match="no column of volumes"):
        read_tool_volumes(table)
