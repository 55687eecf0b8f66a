"""Simulated scans in the classes of real ones, and real people scanned again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.lab.benchmarks.reality.measures import MEASURES
from bids_ihf.lab.benchmarks.reality.real_people import (
    COARSE_FRACTIONS,
    RANDOM_TEXTURE,
    REAL_ANATOMY,
    REAL_SCAN,
    rescan_rows,
)
from bids_ihf.lab.benchmarks.reality.simulated_scans import simulated_rows
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from tests.lab.phantoms import folded_person, prepared

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (88, 96, 88)


@pytest.fixture
def label_map(tmp_path: Path) -> Path:
    """Nested shells with FreeSurfer values: ventricle, white, grey, CSF, skin; 1 mm."""
    axes = [np.arange(n) - n / 2 for n in SIZE]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2) + np.sin(x / 3) * np.cos(y / 4)
    labels = np.select([radius < 8, radius < 28, radius < 33, radius < 36], [4, 2, 3, 24], 0)
    path = tmp_path / "ball_dseg.nii.gz"
    nib.save(nib.Nifti1Image(labels.astype(np.int16), np.eye(4)), path)
    return path


def test_a_scan_in_each_class(label_map: Path) -> None:
    rows = simulated_rows(label_map, "T1w", ("1 mm", "2 mm", "thick", "slice"), range(2), 1)
    assert [row["voxels"] for row in rows] == ["1 mm", "slice", "2 mm", "thick"] * 2
    assert [row["dataset"] for row in rows] == ["Siemens"] * 4 + ["random"] * 4
    for row in rows:
        assert set(MEASURES) <= set(row)
        assert row["csf_to_white"] < row["grey_to_white"] < 1
    again = simulated_rows(label_map, "T1w", ("1 mm", "2 mm", "thick", "slice"), range(1, 2), 1)
    assert [row["noise"] for row in again] == [row["noise"] for row in rows[4:]]


def test_an_anatomy_made_of_a_scan_is_most_like_it(tmp_path: Path) -> None:
    person = folded_person()
    image = scan(person, typical_scanner("Siemens", "T1w", 0), 5)
    rows = rescan_rows(prepared(person, image, tmp_path / "a_T1w.nii.gz"), "a")
    assert [row["image"] for row in rows] == [
        REAL_SCAN, REAL_ANATOMY, RANDOM_TEXTURE, COARSE_FRACTIONS,
    ]  # fmt: skip
    for measure in ("correlation", "detail_brain", "detail_white"):
        real, *others = (row[measure] for row in rows[1:])
        assert real > 0.8
        assert real > max(others)
