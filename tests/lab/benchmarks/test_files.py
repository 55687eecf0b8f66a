"""Evaluation of files, and the tables it ends in."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from bids_ihf.errors import BadData
from bids_ihf.lab.benchmarks import files
from bids_ihf.lab.benchmarks.files import Pair, evaluate_files
from bids_ihf.lab.benchmarks.table import COLUMNS, summarize, text_table, to_tsv, write_table

SHAPE = (30, 32, 24)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), affine), path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2)
    anatomy = (noise - noise.min()) / np.ptp(noise)
    mask = np.zeros(SHAPE)
    mask[6:24, 6:26, 4:20] = 1
    return Pair(
        harmonized=save(tmp_path / "sub-01_desc-harmonized_T1w.nii.gz", 510 * anatomy + 12),
        target=save(tmp_path / "sub-01_ses-target_T1w.nii.gz", 500 * anatomy + 10),
        mask=save(tmp_path / "mask.nii.gz", mask),
        source=save(tmp_path / "source.nii.gz", 400 * anatomy**2),
    )


def test_rows_of_baselines(pair: Pair) -> None:
    rows = {row["method"]: row for row in evaluate_files([pair])}
    expected = [files.UNHARMONIZED, files.MATCHED, files.NYUL, files.HARMONIZED]
    assert [method for method in rows if method != files.NYUL] == expected[:2] + expected[3:]
    assert rows[files.HARMONIZED]["subject"] == "01"
    assert rows[files.HARMONIZED]["psnr_mask"] > rows[files.UNHARMONIZED]["psnr_mask"]
    assert rows[files.MATCHED]["psnr_mask"] > rows[files.UNHARMONIZED]["psnr_mask"]
    assert set(rows[files.HARMONIZED]) == set(COLUMNS)


def test_without_a_source_one_row(pair: Pair) -> None:
    rows = evaluate_files([Pair(pair.harmonized, pair.target, pair.mask)])
    assert [row["method"] for row in rows] == [files.HARMONIZED]


def test_slices_are_axial_whatever_the_storage(pair: Pair, tmp_path: Path) -> None:
    turned = {}
    for name in ("harmonized", "target", "mask"):
        image = nibabel.load(getattr(pair, name))
        order = nibabel.orientations.axcodes2ornt(("P", "I", "R"))
        turned[name] = tmp_path / f"turned_{name}.nii.gz"
        nibabel.save(image.as_reoriented(_from_ras(order)), turned[name])
    (before,) = evaluate_files([Pair(pair.harmonized, pair.target, pair.mask)])
    (after,) = evaluate_files([Pair(turned["harmonized"], turned["target"], turned["mask"])])
    assert after["ms_ssim"] == pytest.approx(before["ms_ssim"], rel=1e-6)


def _from_ras(order: np.ndarray) -> np.ndarray:
    ras = nibabel.orientations.axcodes2ornt(("R", "A", "S"))
    return nibabel.orientations.ornt_transform(ras, order)


@pytest.mark.parametrize("change", ["shape", "affine"])
def test_another_grid_names_both_files(pair: Pair, tmp_path: Path, change: str) -> None:
    shape = (30, 32, 23) if change == "shape" else SHAPE
    affine = AFFINE.copy()
    affine[0, 3] += 0 if change == "shape" else 1
    other = save(tmp_path / "other.nii.gz", np.random.default_rng(0).random(shape), affine)
    with pytest.raises(BadData, match="same grid") as caught:
        evaluate_files([Pair(pair.harmonized, other, pair.mask)])
    assert str(pair.harmonized) in str(caught.value)
    assert str(other) in str(caught.value)


def test_table_and_dictionary(pair: Pair, tmp_path: Path) -> None:
    rows = evaluate_files([pair])
    path = tmp_path / "new" / "table.tsv"
    write_table(path, rows)
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert len(lines) == 1 + len(rows)
    assert set(lines[0]) == set(json.loads(path.with_suffix(".json").read_text()))
    assert all(COLUMNS[name]["Description"] for name in lines[0])


def test_infinite_and_missing_values() -> None:
    text = to_tsv([{"subject": "01", "psnr_mask": float("inf"), "ms_ssim": float("nan")}])
    assert text == "subject\tpsnr_mask\tms_ssim\n01\tinf\tn/a\n"


def test_subjects_are_the_units() -> None:
    measures = dict.fromkeys(("rmse_mask", "rmse_frame", "psnr_mask", "psnr_frame"), 1.0)
    values = {"01": [0.2] * 9, "02": [0.6], "03": [0.8]}
    rows = [
        {"subject": subject, "method": "harmonized", "ms_ssim": value, **measures}
        for subject, own in values.items()
        for value in own
    ]
    found = summarize(rows)["harmonized"]["ms_ssim"]
    assert found.median == pytest.approx(0.6)
    assert found.low == pytest.approx(0.2)
    assert found.high == pytest.approx(0.8)
    assert "Median over 3 subjects" in text_table(rows)
    assert "0.6 [0.2, 0.8]" in text_table(rows)
