"""The comparison with real scans: what is found, what is outside, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.errors import BadData
from bids_ihf.lab.benchmarks.reality.figures import draw_densities
from bids_ihf.lab.benchmarks.reality.measures import MEASURES
from bids_ihf.lab.benchmarks.reality.ranges import range_rows, reality_tables
from bids_ihf.lab.benchmarks.reality.real_scans import RealScan, find_scans, load_slices

if TYPE_CHECKING:
    from bids_ihf.lab.benchmarks.tables import Row

PNG_SIGNATURE = b"\x89PNG"


def write_slice(path: Path, shape: tuple[int, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.zeros(shape, dtype=np.float32)
    data[tuple(slice(2, -2) if size > 4 else slice(None) for size in shape)] = 100
    data += np.arange(shape[-1]) * (data > 0)
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.eye(4)), path)


def test_scans_are_found_by_name(tmp_path: Path) -> None:
    names = {
        "raw/sub-lh01/anat/sub-lh01_T1w.nii.gz": ("raw lh", "T1w"),
        "raw/sub-lh01/anat/sub-lh01_T2w.nii.gz": ("raw lh", "T2w"),
        "raw/sub-lh01/dwi/sub-lh01_dwi.nii.gz": None,
        "travel/sub-1/ses-a5/anat/sub-1_ses-a5_FLAIR.nii.gz": ("travel a5", "FLAIR"),
        "slices/T1/IXI023-Guys-0699-T1_out.nii.gz": ("slices Guys", "T1w"),
        "labels/head-01_dseg.nii.gz": None,
    }
    for name in names:
        write_slice(tmp_path / name, (8, 9, 3))
    scans = {str(scan.path.relative_to(tmp_path)): scan for scan in find_scans(tmp_path)}
    expected = {name: facts for name, facts in names.items() if facts}
    assert {name: (s.dataset, s.modality) for name, s in scans.items()} == expected
    t2w = scans["raw/sub-lh01/anat/sub-lh01_T2w.nii.gz"]
    assert t2w.t1w == tmp_path / "raw/sub-lh01/anat/sub-lh01_T1w.nii.gz"
    assert t2w.t1w_scan().modality == "T1w"


def test_a_folder_without_scans(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"_T1w\.nii\.gz"):
        find_scans(tmp_path)


@pytest.mark.parametrize("shape", [(40, 50), (1, 40, 50), (40, 50, 3)])
def test_single_slices_of_any_layout(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "a-T1.nii.gz"
    write_slice(path, shape)
    slices = load_slices(RealScan(path, "a", "T1w", None), tmp_path)
    assert slices.voxel_class == "slice"
    assert slices.raw.shape == (40, 50, 1)
    assert slices.mask.sum() == 36 * 46 - 4  # without the corners
    again = load_slices(RealScan(path, "a", "T1w", None), tmp_path)
    np.testing.assert_array_equal(again.raw, slices.raw)
    assert again.prior is None


def rows_of(source: str, dataset: str, noises: list[float]) -> list[Row]:
    measured = dict.fromkeys(MEASURES, 1.0)
    return [
        {"scan": f"{dataset}{n}", "source": source, "dataset": dataset, "contrast": "T1w",
         "voxels": "1 mm", **measured, "noise": noise}
        for n, noise in enumerate(noises)
    ]  # fmt: skip


def test_real_values_outside_are_counted_and_named() -> None:
    simulated = rows_of("simulated", "random", list(np.linspace(0.01, 0.02, 101)))
    real = rows_of("real", "a", [0.005, 0.015, np.nan]) + rows_of("real", "b", [0.03, 0.04])
    table = {row["measure"]: row for row in range_rows(simulated + real)}
    noise = table["noise"]
    assert (noise["real_scans"], noise["simulated_scans"]) == (4, 101)
    assert noise["simulated_low"] == pytest.approx(0.0101)
    assert (noise["below"], noise["above"]) == (1, 2)
    assert noise["outside"] == "a 1, b 2"
    assert table["skewness"]["outside"] is None


def test_tables_and_figures() -> None:
    rng = np.random.default_rng(0)
    rows = rows_of("simulated", "random", list(rng.uniform(0.01, 0.03, 30)))
    rows += rows_of("real", "a", list(rng.uniform(0.01, 0.03, 9)))
    files = reality_tables(rows)["reality"].files("reality", {})
    assert len(files["reality.tsv"].decode().splitlines()) == 40
    assert draw_densities(rows, "T1w").startswith(PNG_SIGNATURE)
