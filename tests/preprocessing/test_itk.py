from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bids_ihf.geometry.grid import Grid, inverse_affine, resample
from bids_ihf.preprocessing.alignment import to_itk_mat
from bids_ihf.preprocessing.itk import (
    configure_itk,
    encode_affine,
    load_ants,
    read_affine,
    to_ants,
)
from tests.preprocessing.conftest import pose, small_brain

AFFINES = {
    "oblique": pose((11, -7, 31), (4, 5, 6)) @ np.diag([0.9, 1.1, 2.3, 1.0]),
    "left-handed": pose((0, 0, 0), (40, 5, 6)) @ np.diag([-1.0, 1.0, 1.0, 1.0]),
    "left-handed and oblique": pose((3, 4, -50), (4, 5, 6)) @ np.diag([-1.5, 1.0, 2.0, 1.0]),
    "permuted": np.array(
        [[0, 0, 1.2, -5], [-1.0, 0, 0, 3], [0, 0.8, 0, 2], [0, 0, 0, 1]], dtype=float
    ),
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
def test_voxels_lie_where_the_affine_says(affine: np.ndarray) -> None:
    ants = load_ants()
    image = to_ants(np.zeros((6, 7, 8), dtype=np.float32), affine)
    for index in ([0, 0, 0], [5, 6, 7], [1, 4, 2]):
        x, y, z = ants.transform_index_to_physical_point(image, index)
        assert np.allclose([-x, -y, z], (affine @ [*index, 1])[:3], atol=1e-4)


def test_masks_are_bytes_and_images_single() -> None:
    assert to_ants(np.ones((2, 3, 4), dtype=bool), np.eye(4)).pixeltype == "unsigned char"
    assert to_ants(np.ones((2, 3, 4)), np.eye(4)).pixeltype == "float"


def test_affine_file_round_trip(tmp_path: Path) -> None:
    matrix = pose((11, -7, 31), (4, 5, 6)) @ np.diag([0.9, 1.1, 1.3, 1.0])
    path = tmp_path / "x.mat"
    path.write_bytes(encode_affine(matrix))
    assert np.abs(read_affine(path) - matrix).max() < 1e-12
    assert len(load_ants().read_transform(str(path)).parameters) == 12


def test_ants_resamples_by_the_file_as_we_do_by_the_matrix(tmp_path: Path) -> None:
    brain, grid, _ = small_brain()
    matrix = pose((5, -8, 12), (6, -3, 9))
    path = tmp_path / "sub-01_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm.mat"
    path.write_bytes(to_itk_mat(matrix))
    target = Grid((40, 50, 45), np.diag([3.5, 3.5, 3.5, 1.0]))
    target.affine[:3, 3] = [-70, -100, -60]
    theirs = load_ants().apply_transforms(
        to_ants(np.zeros(target.shape), target.affine), to_ants(brain, grid.affine), [str(path)]
    )
    ours = resample(brain, grid, target, target_to_source=inverse_affine(matrix))
    inner = ours > 0
    assert inner.sum() > 5000
    assert np.abs(theirs.numpy() - ours)[inner].max() < 1e-2 * ours.max()


ITK_VARIABLES = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "ANTS_RANDOM_SEED")


def test_itk_gets_one_thread_and_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ITK_VARIABLES, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    configure_itk(4)
    assert [os.environ[name] for name in ITK_VARIABLES] == ["1", "5"]
    load_ants()
    assert [os.environ[name] for name in ITK_VARIABLES] == ["1", "5"]
    assert "OMP_NUM_THREADS" not in os.environ


def test_itk_is_configured_when_nobody_did(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ITK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    load_ants()
    assert [os.environ[name] for name in ITK_VARIABLES] == ["1", "1"]
