"""A prepared scan survives the way through its file."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.geometry.grid import Grid
from bids_ihf.io.nifti import read_volume
from bids_ihf.preprocessing.prepare import Prepared, prepare
from bids_ihf.preprocessing.prepared_file import load_prepared, save_prepared
from bids_ihf.preprocessing.segmentation import Segmentation


@pytest.mark.parametrize(("similarity", "coverage"), [(0.81, 0.42), (None, None)])
def test_what_was_prepared_comes_back(
    tmp_path: Path, similarity: float | None, coverage: float | None
) -> None:
    rng = np.random.default_rng(0)
    data = rng.uniform(1, 100, (6, 5, 4)).astype(np.float32)
    scan = tmp_path / "sub-01_T1w.nii.gz"
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1])), scan)
    shares = rng.dirichlet(np.ones(4), (3, 4, 5)).transpose(3, 0, 1, 2).astype(np.float32)
    seen = shares[0] > 0.1
    kept = Prepared(
        volume=read_volume(scan),
        bias=rng.uniform(0.5, 2, data.shape).astype(np.float32),
        mask=data > 50,
        segmentation=Segmentation(shares, seen, Grid((3, 4, 5), np.diag([4.0, 4, 4, 1]))),
        stripped=True,
        to_template=rng.normal(size=(4, 4)),
        similarity=similarity,
        coverage=coverage,
        seconds=4.5,
    )
    save_prepared(kept, tmp_path / "prepared.npz")
    found = load_prepared(tmp_path / "prepared.npz")
    assert (found.similarity, found.coverage) == (similarity, coverage)
    assert found.stripped
    assert found.seconds == kept.seconds
    for name in ("bias", "mask", "to_template"):
        assert np.array_equal(getattr(found, name), getattr(kept, name))
    assert np.array_equal(found.volume.data, data)
    assert found.segmentation is not None
    assert kept.segmentation is not None
    assert np.array_equal(found.segmentation.tissue_fractions, shares)
    assert np.array_equal(found.segmentation.field_of_view, seen)
    assert np.array_equal(found.segmentation.grid.affine, kept.segmentation.grid.affine)


def test_an_image_that_was_not_segmented_comes_back(tmp_path: Path) -> None:
    data = np.arange(1, 28, dtype=np.float32).reshape(3, 3, 3)
    scan = tmp_path / "sub-01_T1w.nii.gz"
    nib.save(nib.Nifti1Image(data, np.eye(4)), scan)
    save_prepared(prepare(scan, modality="T1w", preprocessed=True), tmp_path / "prepared.npz")
    assert load_prepared(tmp_path / "prepared.npz").segmentation is None
