from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.scans_table import (
    MEASURE_COLUMNS,
    read_scans_table,
    update_scans_table,
)
from bids_ihf.bids.sidecars import write_json
from bids_ihf.errors import BadData


def scan(entities: str = "sub-01_ses-A", suffix: str = "T1w") -> SourceImage:
    folders = [part for part in entities.split("_") if part[:3] in {"sub", "ses"}]
    path = Path("/raw", *folders, "anat", f"{entities}_{suffix}.nii.gz")
    return SourceImage.from_path(path, Path("/raw"))


def test_a_row_is_merged_and_the_others_stay(tmp_path: Path) -> None:
    update_scans_table(tmp_path, scan("sub-01_ses-A_run-2"), {"seconds": 2.5})
    table = update_scans_table(tmp_path, scan(), {"source_vendor": "GE", "change_rms": None})
    assert table == tmp_path / "sub-01/ses-A/sub-01_ses-A_scans.tsv"
    update_scans_table(tmp_path, scan("sub-01_ses-A_run-2"), {"seconds": 3, "change_rms": 0.25})
    assert table.read_text() == (
        "filename\tsource_vendor\tchange_rms\tseconds\n"
        "anat/sub-01_ses-A_desc-harmonized_T1w.nii.gz\tGE\tn/a\tn/a\n"
        "anat/sub-01_ses-A_run-2_desc-harmonized_T1w.nii.gz\tn/a\t0.25\t3\n"
    )
    dictionary = json.loads(table.with_suffix(".json").read_text())
    assert list(dictionary) == ["filename", "source_vendor", "change_rms", "seconds"]
    assert all({"LongName", "Description"} <= set(entry) for entry in dictionary.values())
    assert dictionary["seconds"]["Units"] == "s"


def test_without_sessions(tmp_path: Path) -> None:
    table = update_scans_table(tmp_path, scan("sub-01", "T2w"), {"seconds": 1})
    assert table == tmp_path / "sub-01/sub-01_scans.tsv"
    assert read_scans_table(table) == [
        {"filename": "anat/sub-01_desc-harmonized_T2w.nii.gz", "seconds": "1"}
    ]


def test_columns_are_explained_and_explanations_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="snr"):
        update_scans_table(tmp_path, scan(), {"snr": 1})
    entry = {"LongName": "SNR", "Description": "Signal to noise"}
    table = update_scans_table(tmp_path, scan(), {"seconds": 2})
    table.write_text(
        table.read_text().replace("seconds\n", "seconds\tsnr\n").replace("\t2\n", "\t2\t1\n")
    )
    write_json(table.with_suffix(".json"), {"snr": entry})
    update_scans_table(tmp_path, scan("sub-01_ses-A_run-1"), {"seconds": 1})
    assert json.loads(table.with_suffix(".json").read_text())["snr"] == entry
    assert table.read_text().splitlines()[0] == "filename\tseconds\tsnr"


def test_rows_written_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    def write(number: int) -> None:
        update_scans_table(tmp_path, scan(f"sub-01_run-{number}"), {"seconds": number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    rows = read_scans_table(tmp_path / "sub-01/sub-01_scans.tsv")
    assert sorted(int(row["seconds"]) for row in rows) == list(range(40))
    assert sorted(path.name for path in (tmp_path / "sub-01").iterdir()) == [
        "sub-01_scans.json",
        "sub-01_scans.tsv",
    ]


@pytest.mark.parametrize("content", ["", "a\tb\n1\t2\n", "filename\tb\nonly one\n", "\xff\x00"])
def test_a_damaged_table_is_named(tmp_path: Path, content: str) -> None:
    table = tmp_path / "sub-01/sub-01_scans.tsv"
    table.parent.mkdir()
    table.write_bytes(content.encode("latin-1"))
    with pytest.raises(BadData, match=r"sub-01_scans\.tsv.*delete it"):
        update_scans_table(tmp_path, scan("sub-01"), {"seconds": 1})


def test_the_agreed_columns_are_explained() -> None:
    agreed = [
        "filename",
        "harmonization_target",
        "source_vendor",
        "distance_before",
        "distance_after",
        "change_rms",
        "round_trip_max_error",
        "mask_volume_ml",
        "alignment_similarity",
        "alignment_coverage",
        "seconds",
    ]
    assert [column for column in MEASURE_COLUMNS if column in agreed] == agreed
    for column, entry in MEASURE_COLUMNS.items():
        assert entry["LongName"], column
        assert entry["Description"], column
        if column.endswith(("_before", "_after")):
            assert entry["Units"], column


def test_before_and_after_come_in_pairs() -> None:
    stems: dict[str, list[str]] = {side: [] for side in ("before", "after")}
    for column in MEASURE_COLUMNS:
        stem, _, side = column.rpartition("_")
        if side in stems:
            stems[side].append(stem)
    assert stems["before"] == stems["after"]
    assert len(stems["before"]) == len(set(stems["before"]))
