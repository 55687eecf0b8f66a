"""Gradient tables: what is read, and the error for each defect."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.bids.diffusion_weighting import (
    NO_WEIGHTING_ACTION,
    SINGLE_VOLUME_ACTION,
    why_not_harmonized,
)
from bids_ihf.bids.gradient_tables import GradientTable, read_gradient_table
from bids_ihf.errors import BadData

IMAGE = Path("sub-1_dwi.nii.gz")


def tables(folder: Path, bval: str, bvec: str) -> tuple[Path, Path]:
    paths = folder / "a.bval", folder / "a.bvec"
    for path, text in zip(paths, (bval, bvec), strict=True):
        path.write_text(text)
    return paths


def test_directions_become_unit_vectors(tmp_path: Path) -> None:
    table = read_gradient_table(
        IMAGE, *tables(tmp_path, "5 1000 1000\n", "1 0 0\n0 2 0\n0 0 -2\n"), 3
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


def read(folder: Path, bval: str, bvec: str, b0_threshold: float | None = None) -> GradientTable:
    count = len(bval.replace(",", " ").split())
    return read_gradient_table(IMAGE, *tables(folder, bval, bvec), count, b0_threshold)


@pytest.mark.parametrize(
    ("bvals", "threshold", "unweighted"),
    [
        ("65 1005 995 2000", None, 1),
        ("45 60 70 995 2000", None, 3),
        ("0 100 1000 2000", None, 1),
        ("0 65 1000 2000", None, 1),
        ("0 20 40 60 80 100", None, 3),
        ("200 1000 1000 2000", 200, 1),
        ("0 100 1000 2000", 100, 2),
    ],
)
def test_small_b_values_count_as_b0(
    tmp_path: Path, bvals: str, threshold: float | None, unweighted: int
) -> None:
    numbers = np.array(bvals.split(), dtype=float)
    table = read(tmp_path, bvals, "\n".join(3 * [len(numbers) * "0.577 "]), threshold)
    assert (table.bvals <= 50).sum() == unweighted
    assert np.array_equal(table.bvals[table.bvals > 50], numbers[unweighted:])
    assert not table.bvecs[:unweighted].any()


@pytest.mark.parametrize("b0", ["0", "2000"])
def test_shells_in_the_lengths_of_directions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, b0: str
) -> None:
    table = read(tmp_path, f"{b0} 2000 2000 2000", "0 0.70711 1 0\n0 0 0 0.70711\n0 0 0 0")
    assert np.allclose(table.bvals, [0, 1000, 2000, 1000], rtol=1e-4)
    assert np.allclose(np.linalg.norm(table.bvecs, axis=1), [0, 1, 1, 1])
    assert "multiplied by the squared length" in caplog.text


def test_rounded_directions_stay_directions(tmp_path: Path) -> None:
    table = read(tmp_path, "0 1000 1000 2000", "0 0.58 0.99 0\n0 0.58 0 1.01\n0 0.58 0 0")
    assert table.bvals.tolist() == [0, 1000, 1000, 2000]


def test_directions_of_b0_volumes_may_be_nan(tmp_path: Path) -> None:
    table = read(tmp_path, "0 5 1000", "nan nan 1\nnan nan 0\nNaN nan 0")
    assert table.bvecs.tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]
    with pytest.raises(BadData, match=r"direction of volume 2 \(b-value 1000\) contains NaN"):
        read(tmp_path, "0 1000 1000", "0 nan 1\n0 0 0\n0 0 0")


def test_commas_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    table = read(tmp_path, "\ufeff0, 1000,2000", "0,1,0\r\n0,0,1\r\n0,0,0\r\n")
    assert table.bvals.tolist() == [0, 1000, 2000]


@pytest.mark.parametrize(
    ("bval", "volumes", "action"),
    [
        ("0 0", 2, NO_WEIGHTING_ACTION),
        ("0 5", 2, NO_WEIGHTING_ACTION),
        (None, 1, SINGLE_VOLUME_ACTION),
        ("0 1000", 2, None),
        ("0 1 1 2", 4, None),
        (None, 2, None),
    ],
)
def test_what_is_no_series(
    tmp_path: Path, bval: str | None, volumes: int, action: str | None
) -> None:
    image = tmp_path / "sub-1_dir-PA_dwi.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4, volumes), np.float32), np.eye(4)), image)
    table = None if bval is None else tables(tmp_path, bval, "")[0]
    assert why_not_harmonized(image, table) == action
