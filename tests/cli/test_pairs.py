"""Pairs of images: grids, masks, tables."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from bids_ihf.cli.pairs import Pair, measure, read_pairs, upright_grid
from bids_ihf.cli.toolbox import main
from bids_ihf.errors import BadData, UsageError
from bids_ihf.volume.nifti import read_volume

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), affine), path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    rng = np.random.default_rng(0)
    target = rng.uniform(10, 100, (24, 26, 22))
    mask = np.zeros(target.shape)
    mask[4:20, 4:20, 4:18] = 1
    return Pair(
        harmonized=save(tmp_path / "h.nii.gz", target + 1),
        target=save(tmp_path / "t.nii.gz", target),
        mask=save(tmp_path / "m.nii.gz", mask),
        source=save(tmp_path / "s.nii.gz", 3 * target + 40),
    )


def test_rows(pair: Pair) -> None:
    rows = {row["method"]: row for row in measure(pair)}
    assert {"harmonized", "unharmonized", "histogram matching"} <= set(rows)
    assert rows["harmonized"]["rmse_mask"] < rows["unharmonized"]["rmse_mask"]
    assert rows["histogram matching"]["rmse_mask"] < 1e-6
    assert rows["harmonized"]["rmse_mask"] == pytest.approx(1 / 90, rel=0.1)


def test_orientation_does_not_count(pair: Pair, tmp_path: Path) -> None:
    image = nibabel.load(pair.harmonized)
    turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nibabel.save(turned, tmp_path / "turned.nii.gz")
    again = Pair(tmp_path / "turned.nii.gz", pair.target, pair.mask)
    first, second = measure(Pair(pair.harmonized, pair.target, pair.mask)), measure(again)
    assert first[0]["rmse_frame"] == second[0]["rmse_frame"]
    assert first[0]["ms_ssim"] == second[0]["ms_ssim"]


@pytest.mark.parametrize("codes", ["LPS", "AIR", "SRA"])
def test_upright_grid(tmp_path: Path, codes: str) -> None:
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.float32).reshape(2, 3, 4), AFFINE)
    change = nibabel.orientations.axcodes2ornt(tuple(codes))
    nibabel.save(image.as_reoriented(change), tmp_path / "x.nii")
    grid = upright_grid(read_volume(tmp_path / "x.nii"))
    assert nibabel.aff2axcodes(grid.affine) == ("R", "A", "S")


def test_empty_mask(pair: Pair, tmp_path: Path) -> None:
    mask = np.zeros((24, 26, 22))
    mask[0, 0, 0] = -1
    bad = Pair(pair.harmonized, pair.target, save(tmp_path / "e.nii.gz", mask))
    with pytest.raises(BadData, match=r"t\.nii\.gz"):
        measure(bad)


def test_table(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("harmonized\ttarget\tmask\tsource\nh.nii.gz\tt.nii.gz\tm.nii.gz\tn/a\n")
    assert read_pairs(pairs) == [Pair(pair.harmonized, pair.target, pair.mask)]
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "--pairs", str(pairs), "-o", str(tmp_path / "table.tsv")])
    assert end.value.code == 0
    lines = (tmp_path / "table.tsv").read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].split("\t")[:3] == ["harmonized", "target", "method"]
    words = ["evaluate", str(pair.harmonized), str(pair.target), "--mask", str(pair.mask)]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    assert capsys.readouterr().out.splitlines()[0] == lines[0]


@pytest.mark.parametrize("text", ["", "a\tb\n1\t2\n", "harmonized\ttarget\n\tx\n"])
def test_pairs_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"pairs\.tsv"):
        read_pairs(path)


@pytest.mark.parametrize("words", [[], ["a"], ["a", "b", "--pairs", "c"]])
def test_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *words])
    assert end.value.code == 2
