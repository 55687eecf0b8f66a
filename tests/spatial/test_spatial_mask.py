from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff

from bids_ihf.spatial import morphology
from bids_ihf.spatial.mask import brain_mask, head_mask, is_stripped, otsu
from bids_ihf.volume.nifti import read_volume
from tests.spatial.conftest import SHARED, dice, needs_scans, pose, small_brain, whole_head


def test_stripped_and_whole_are_told_apart() -> None:
    brain, _, _ = small_brain()
    head, _, _ = whole_head()
    emptied = np.where(head > 60, head, 0).astype(np.float32)
    assert is_stripped(np.pad(brain, 5))
    assert not is_stripped(head)
    assert not is_stripped(emptied)


def test_stripped_scan_gives_its_signal_filled() -> None:
    brain, grid, mask = small_brain()
    holed = brain.copy()
    holed[33, 40, 30] = 0
    found = brain_mask(holed, grid.affine)
    assert found[33, 40, 30]
    assert dice(found, mask) > 0.99


def test_whole_head_in_any_pose_and_orientation() -> None:
    head, grid, mask = whole_head()
    turn = np.array([[2, -1], [0, 1], [1, -1]], dtype=float)
    data, inside = apply_orientation(head, turn), apply_orientation(mask, turn)
    affine = pose((12, -6, 8), (15, -20, 30)) @ grid.affine @ inv_ornt_aff(turn, head.shape)
    found = brain_mask(data, affine)
    assert found.shape == data.shape
    assert dice(found, inside) > 0.93


def test_head_mask_holds_the_scalp_and_no_air() -> None:
    head, grid, mask = whole_head()
    found = head_mask(head, grid.affine)
    assert found[mask].mean() > 0.99
    assert found[head > 600].mean() > 0.98
    distance = morphology.dilate(found, 9.0, 3.0)
    assert (head[~distance] < 100).all()


@pytest.mark.parametrize("shape", [(8, 8, 8), (64, 64, 1), (3, 30, 30)])
def test_what_holds_no_brain_does_not_crash(shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    for data in (noise, -np.abs(noise)):
        assert brain_mask(data, np.diag([4, 4, 4, 1.0])).shape == shape
        assert head_mask(data, np.diag([4, 4, 4, 1.0])).shape == shape


def test_otsu_parts_two_peaks() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(10, 2, 5000), generator.normal(50, 5, 5000)])
    assert 15 < otsu(values.astype(np.float32)) < 40


def test_morphology_counts_in_millimetres() -> None:
    mask = np.zeros((21, 21, 21), dtype=bool)
    mask[10, 10, 10] = True
    ball = morphology.dilate(mask, 6.0, 2.0)
    assert ball[13, 10, 10]
    assert not ball[14, 10, 10]
    assert np.array_equal(morphology.erode(ball, 5.9, 2.0), mask)
    gap = np.ones((9, 9, 9), dtype=bool)
    gap[4] = False
    assert morphology.close(gap, 2.0, 1.0)[4, 4, 4]
    assert not morphology.dilate(np.zeros((3, 3, 3), dtype=bool), 5, 1).any()
    two = ball.copy()
    two[0, 0, 0] = True
    assert np.array_equal(morphology.largest(two), ball)
    assert np.array_equal(morphology.connected(two, mask), ball)
    assert np.array_equal(morphology.without_specks(two, 0.1), ball)
    assert np.array_equal(morphology.without_specks(two, 0.0), two)


@needs_scans
def test_agrees_with_a_freesurfer_mask() -> None:
    volume = read_volume(SHARED / "bids/sub-aomic01/anat/sub-aomic01_T1w.nii.gz")
    reference = nib.load(SHARED / "masks/sub-aomic01_desc-brain_mask.nii.gz")
    found = brain_mask(volume.data, volume.affine)
    assert dice(found, np.asarray(reference.dataobj) > 0) > 0.95


@needs_scans
@pytest.mark.parametrize(
    ("name", "stripped"),
    [
        ("sub-dep01/anat/sub-dep01_T1w", True),
        ("sub-ms19/anat/sub-ms19_T1w", True),
        ("sub-ms07/anat/sub-ms07_T2w", True),
        ("sub-ge01/anat/sub-ge01_T1w", True),
        ("sub-aomic01/anat/sub-aomic01_T1w", False),
        ("sub-lh01/anat/sub-lh01_acq-inplane_T2w", False),
    ],
)
def test_real_scans_are_told_apart(name: str, stripped: bool) -> None:
    assert is_stripped(read_volume(SHARED / "bids" / f"{name}.nii.gz").data) == stripped
