"""Gradient tables: what is read, and the error for each defect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bids_ihf.bids.gradient_tables import read_gradient_table
from bids_ihf.errors import BadData

IMAGE = Path("sub-1_dwi.nii.gz")


def tables(folder: Path, bval: str, bvec: str) -> tuple[Path, Path]:
    paths = folder / "a.bval", folder / "a.bvec"
    for path, text in zip(paths, (bval, bvec), strict=True):
        path.write_text(text)
    return paths


def test_directions_become_unit_vectors(tmp_path: Path) -> None:
    table = read_gradient_table(
        IMAGE, *tables(tmp_path, "5 1000 1000\n", "1 0 0\n0 2 0\n0 0 -1\n"), 3
    )
    assert table.bvals.tolist() == [5, 1000, 1000]
    assert table.bvecs.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, -1]]


def test_b_values_in_a_column(tmp_path: Path) -> None:
    table = read_gradient_table(IMAGE, *tables(tmp_path, "0\n1000\n", "0 1\n0 0\n0 0\n"), 2)
    assert len(table) == 2


@pytest.mark.parametrize(
    ("bval", "bvec", "words"),
    [
        ("0 1000", "0 1\n0 0\n0 0", "has 3 volumes, but 2 b-values and 2 directions"),
        ("0 1000 1000", "0 1\n0 0\n0 0", "3 b-values and 2 directions"),
        ("0 0 0", "0 0 0\n0 0 0\n0 0 0", "all b-values are 0 or less, so no volume"),
        ("0 1 2", "0 1 0\n0 0 1\n0 0 0", "largest b-value is 2; if the unit is ms/um2"),
        ("0 1e9 1e9", "0 1 0\n0 0 1\n0 0 0", "cannot be s/mm2"),
        ("0 -1 1000", "0 1 0\n0 0 1\n0 0 0", "cannot be s/mm2"),
        ("1000 1000 1000", "1 1 0\n0 0 1\n0 0 0", "no volume has a b-value of 50"),
        ("0 1000 1000", "0 1 0\n0 0 0\n0 0 0", "volume 3 has b-value 1000 but no direction"),
        ("0 1000 x", "0 1 0\n0 0 1\n0 0 0", "not a readable table"),
        ("0 1000 nan", "0 1 0\n0 0 1\n0 0 0", "contains NaN"),
        ("0 1000 1000", "0 1 0\n0 0 1", "has 2 rows instead of 3"),
        ("0 1000 1000", "", "is empty"),
    ],
)
def test_wrong_tables(tmp_path: Path, bval: str, bvec: str, words: str) -> None:
    with pytest.raises(BadData, match=words) as caught:
        read_gradient_table(IMAGE, *tables(tmp_path, bval, bvec), 3)
    text = str(caught.value)
    assert text.endswith(".")
    assert text.count(". ") == 0, "one sentence"
    assert caught.value.exit_code == 65


def test_transposed_directions(tmp_path: Path) -> None:
    paths = tables(tmp_path, "0 1000 1000 1000", "0 0 0\n1 0 0\n0 1 0\n0 0 1")
    with pytest.raises(BadData, match="4 rows of 3 numbers instead of 3 rows; transpose it"):
        read_gradient_table(IMAGE, *paths, 4)


def test_missing_file(tmp_path: Path) -> None:
    bval, _ = tables(tmp_path, "0 1000", "")
    with pytest.raises(BadData, match=r"sub-1_dwi\.nii\.gz: has no \.bvec file"):
        read_gradient_table(IMAGE, bval, None, 2)


def test_lengths_that_are_not_one_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_gradient_table(IMAGE, *tables(tmp_path, "0 1000", "0 0.7\n0 0\n0 0\n"), 2)
    assert "not have unit length" in caplog.text
    table = read_gradient_table(IMAGE, *tables(tmp_path, "0 1000", "0 0.7\n0 0\n0 0\n"), 2)
    assert np.allclose(np.linalg.norm(table.bvecs[1]), 1)
