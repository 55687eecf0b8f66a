"""The b-table beside a harmonized series."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from bids_ihf.bids.images import SourceImage, gradient_table_paths, output_paths
from bids_ihf.bids.output_files import clear_outputs
from bids_ihf.dwi.outputs import write_tables


@pytest.mark.parametrize(
    ("source", "written"),
    [
        (b"0\t 1000\r\n\r\n", b"0\t 1000\r\n\r\n"),
        (b"0 1e3", b"0 1e3"),
        (b"0,1000\n", b"0 1000\n"),
        (b"\xef\xbb\xbf0 1000\n", b"0 1000\n"),
    ],
)
def test_tables_are_copied_to_the_byte_if_bids_has_their_separators(
    tmp_path: Path, source: bytes, written: bytes
) -> None:
    root = tmp_path / "bids"
    path = root / "sub-1/dwi/sub-1_dwi.nii.gz"
    path.parent.mkdir(parents=True)
    bval, bvec = (path.with_name(f"sub-1_dwi.{kind}") for kind in ("bval", "bvec"))
    for table in (bval, bvec):
        table.write_bytes(source)
    image = evolve(SourceImage.from_path(path, root), bval=bval, bvec=bvec)
    paths = output_paths(tmp_path / "out", image)
    write_tables(image.bval, image.bvec, (paths.harmonized, paths.change))
    tables = sorted((tmp_path / "out/sub-1/dwi").iterdir())
    assert [table.name.rpartition("desc-")[2] for table in tables] == [
        "change_dwi.bval", "change_dwi.bvec", "harmonized_dwi.bval", "harmonized_dwi.bvec",
    ]  # fmt: skip
    assert {table.read_bytes() for table in tables} == {written}


def test_tables_of_an_earlier_change_map_are_removed(tmp_path: Path) -> None:
    root = tmp_path / "bids"
    path = root / "sub-1/dwi/sub-1_dwi.nii.gz"
    paths = output_paths(tmp_path / "out", SourceImage.from_path(path, root))
    paths.change.parent.mkdir(parents=True)
    for file in (paths.harmonized, paths.change, *gradient_table_paths(paths.change)):
        file.write_bytes(b"earlier")
    clear_outputs(paths)
    assert not list(paths.change.parent.iterdir())
