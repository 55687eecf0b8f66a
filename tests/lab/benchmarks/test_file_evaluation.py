"""Evaluation of files, and the tables it ends in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from attrs import evolve
from scipy import ndimage

from bids_ihf.errors import BadData
from bids_ihf.lab.benchmarks.bootstrap import summarize
from bids_ihf.lab.benchmarks.file_evaluation import (
    FILE_COLUMNS,
    HARMONIZED_METHOD,
    HISTOGRAM_MATCHING_METHOD,
    NYUL_METHOD,
    UNHARMONIZED_METHOD,
    FilePair,
    evaluate_files,
    summary_text,
)

SHAPE = (30, 32, 24)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), affine), path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> FilePair:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2)
    anatomy = (noise - noise.min()) / np.ptp(noise)
    mask = np.zeros(SHAPE)
    mask[6:24, 6:26, 4:20] = 1
    return FilePair(
        harmonized=save(tmp_path / "sub-01_desc-harmonized_T1w.nii.gz", 510 * anatomy + 12),
        target=save(tmp_path / "sub-01_ses-target_T1w.nii.gz", 500 * anatomy + 10),
        mask=save(tmp_path / "mask.nii.gz", mask),
        source=save(tmp_path / "source.nii.gz", 400 * anatomy**2),
    )


def test_rows_of_baselines(pair: FilePair) -> None:
    rows = {row["method"]: row for row in evaluate_files([pair])}
    assert [method for method in rows if method != NYUL_METHOD] == [
        UNHARMONIZED_METHOD, HISTOGRAM_MATCHING_METHOD, HARMONIZED_METHOD,
    ]  # fmt: skip
    psnr = {method: row["psnr_mask"] for method, row in rows.items()}
    assert rows[HARMONIZED_METHOD]["subject"] == "01"
    assert psnr[HARMONIZED_METHOD] > psnr[UNHARMONIZED_METHOD]
    assert psnr[HISTOGRAM_MATCHING_METHOD] > psnr[UNHARMONIZED_METHOD]
    assert set(rows[HARMONIZED_METHOD]) == set(FILE_COLUMNS)


def test_without_a_source_one_row(pair: FilePair) -> None:
    rows = evaluate_files([FilePair(pair.harmonized, pair.target, pair.mask)])
    assert [row["method"] for row in rows] == [HARMONIZED_METHOD]


def test_slices_are_axial_whatever_the_storage(pair: FilePair, tmp_path: Path) -> None:
    turned = {}
    for name in ("harmonized", "target", "mask"):
        image = nibabel.load(getattr(pair, name))
        order = nibabel.orientations.axcodes2ornt(("P", "I", "R"))
        turned[name] = tmp_path / f"turned_{name}.nii.gz"
        nibabel.save(image.as_reoriented(_from_ras(order)), turned[name])
    (before,) = evaluate_files([FilePair(pair.harmonized, pair.target, pair.mask)])
    (after,) = evaluate_files([FilePair(turned["harmonized"], turned["target"], turned["mask"])])
    assert after["ms_ssim"] == pytest.approx(before["ms_ssim"], rel=1e-6)


def _from_ras(order: np.ndarray) -> np.ndarray:
    ras = nibabel.orientations.axcodes2ornt(("R", "A", "S"))
    return nibabel.orientations.ornt_transform(ras, order)


@pytest.mark.parametrize("change", ["shape", "affine"])
def test_another_grid_names_both_files(pair: FilePair, tmp_path: Path, change: str) -> None:
    shape = (30, 32, 23) if change == "shape" else SHAPE
    affine = AFFINE.copy()
    affine[0, 3] += 0 if change == "shape" else 1
    other = save(tmp_path / "other.nii.gz", np.random.default_rng(0).random(shape), affine)
    with pytest.raises(BadData, match="same grid") as caught:
        evaluate_files([FilePair(pair.harmonized, other, pair.mask)])
    assert str(pair.harmonized) in str(caught.value)
    assert str(other) in str(caught.value)


def test_images_without_a_brain_are_named(pair: FilePair, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = SimpleNamespace(mask=np.zeros(SHAPE, dtype=bool))
    monkeypatch.setattr("bids_ihf.lab.benchmarks.file_evaluation.find_brain", lambda *_: nothing)
    for source in (pair.source, None):
        with pytest.raises(BadData, match=r"sub-01_ses-target_T1w.*mask is empty"):
            evaluate_files([evolve(pair, mask=None, source=source)])


def test_subjects_are_the_units() -> None:
    measures = dict.fromkeys(("rmse_mask", "rmse_frame", "psnr_mask", "psnr_frame"), 1.0)
    values = {"01": [0.2] * 9, "02": [0.6], "03": [0.8]}
    rows = [
        {"subject": subject, "method": "harmonized", "ms_ssim": value, **measures}
        for subject, subject_values in values.items()
        for value in subject_values
    ]
    found = summarize(rows, ["ms_ssim"])["harmonized"]["ms_ssim"]
    assert found.median == pytest.approx(0.6)
    assert found.low == pytest.approx(0.2)
    assert found.high == pytest.approx(0.8)
    assert "Median over 3 subjects" in summary_text(rows)
    assert "0.6 [0.2, 0.8]" in summary_text(rows)
