"""``ihf evaluate``: files of pairs, and the table."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bids_ihf.cli.toolbox import main
from bids_ihf.errors import UsageError
from bids_ihf.lab.benchmarks.file_evaluation import FILE_COLUMNS, FilePair
from bids_ihf.lab.commands.pairs import read_pairs

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), affine), path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> FilePair:
    rng = np.random.default_rng(0)
    target = rng.uniform(10, 100, (24, 26, 22))
    mask = np.zeros(target.shape)
    mask[4:20, 4:20, 4:18] = 1
    return FilePair(
        harmonized=save(tmp_path / "h.nii.gz", target + 1),
        target=save(tmp_path / "t.nii.gz", target),
        mask=save(tmp_path / "m.nii.gz", mask),
        source=save(tmp_path / "s.nii.gz", 3 * target + 40),
    )


def test_table(pair: FilePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("harmonized\ttarget\tmask\tsource\nh.nii.gz\tt.nii.gz\tm.nii.gz\tn/a\n")
    assert read_pairs(pairs) == [FilePair(pair.harmonized, pair.target, pair.mask)]
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "--pairs", str(pairs), "-o", str(tmp_path / "table.tsv")])
    assert end.value.code == 0
    lines = (tmp_path / "table.tsv").read_text().splitlines()
    assert len(lines) == 2
    assert {"harmonized", "target", "method", "rmse_mask"} <= set(lines[0].split("\t"))
    explained = json.loads((tmp_path / "table.json").read_text())
    assert set(lines[0].split("\t")) == set(explained) == set(FILE_COLUMNS)
    assert all(column["Description"] for column in explained.values())
    assert "MS-SSIM" in capsys.readouterr().out
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
