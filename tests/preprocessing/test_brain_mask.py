from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff

from bids_ihf.io.nifti import read_volume
from bids_ihf.preprocessing import morphology
from bids_ihf.preprocessing.brain_mask import find_brain, head_mask
from bids_ihf.preprocessing.segmentation import segment
from tests.preprocessing.conftest import SHARED, dice, needs_scans, pose, whole_head


def test_stripped_and_whole_are_told_apart() -> None:
    head, grid, brain = whole_head()
    assert not find_brain(head, grid.affine).stripped
    emptied = np.where(head > 0.05 * head.max(), head, 0).astype(np.float32)
    assert not find_brain(emptied, grid.affine).stripped
    alone = np.where(brain, head, 0).astype(np.float32)
    found = find_brain(alone, grid.affine)
    assert found.stripped
    assert dice(found.mask, brain) > 0.99


def test_whole_head_in_any_pose_and_orientation() -> None:
    head, grid, brain = whole_head()
    turn = np.array([[2, -1], [0, 1], [1, -1]], dtype=float)
    data, inside = apply_orientation(head, turn), apply_orientation(brain, turn)
    affine = pose((12, -6, 8), (15, -20, 30)) @ grid.affine @ inv_ornt_aff(turn, head.shape)
    found = find_brain(data, affine)
    assert found.mask.shape == data.shape
    assert dice(found.mask, inside) > 0.93


def test_tissues_lie_where_they_are() -> None:
    head, grid, brain = whole_head()
    found = segment(head, grid.affine)
    assert found.tissue_fractions.shape == (4, *found.grid.shape)
    np.testing.assert_allclose(found.tissue_fractions.sum(axis=0), 1, atol=1e-4)
    grey, white, fluid = (found.tissue_fractions[k] > 0.7 for k in (1, 2, 3))
    coarse = head  # its grid is the network's own
    assert np.array_equal(found.grid.affine, grid.affine)
    levels = [np.median(coarse[tissue]) for tissue in (white, grey, fluid)]
    assert levels == sorted(levels, reverse=True)  # as T1w scans have it
    assert dice(found.brain > 0.5, brain) > 0.93


def test_the_brain_lies_alike_on_any_grid() -> None:
    head, grid, _ = whole_head()
    found = segment(head, grid.affine)
    own = found.brain_on(grid)
    flipped = grid.affine @ np.diag([-1.0, 1, 1, 1])
    flipped[:3, 3] = (grid.affine @ [head.shape[0] - 1, 0, 0, 1])[:3]
    other = type(grid)(grid.shape, flipped)
    assert np.array_equal(found.brain_on(other), own[::-1])
    away = type(grid)(grid.shape, pose((0, 0, 0), (900, 0, 0)) @ grid.affine)
    assert not found.brain_on(away).any()


def test_head_mask_holds_the_scalp_and_no_air() -> None:
    head, grid, brain = whole_head()
    found = head_mask(head, grid.affine)
    assert found[brain].mean() > 0.99
    assert found[head > 0.5 * np.percentile(head[brain], 50)].mean() > 0.98
    near = morphology.dilate(found, 9.0, 2.0)
    assert (head[~near] < 0.35 * np.percentile(head[brain], 50)).all()


@pytest.mark.parametrize("shape", [(8, 8, 8), (64, 64, 1), (3, 30, 30)])
def test_what_holds_no_brain_does_not_crash(shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    for data in (noise, -np.abs(noise), np.zeros(shape, np.float32)):
        assert find_brain(data, np.diag([4, 4, 4, 1.0])).mask.shape == shape
        assert head_mask(data, np.diag([4, 4, 4, 1.0])).shape == shape


def test_morphology_counts_in_millimetres() -> None:
    mask = np.zeros((21, 21, 21), dtype=bool)
    mask[10, 10, 10] = True
    ball = morphology.dilate(mask, 6.0, 2.0)
    assert ball[13, 10, 10]
    assert not ball[14, 10, 10]
    assert np.array_equal(morphology.close(ball, 6.0, 2.0), ball)
    gap = np.ones((9, 9, 9), dtype=bool)
    gap[4] = False
    assert morphology.close(gap, 2.0, 1.0)[4, 4, 4]
    assert not morphology.dilate(np.zeros((3, 3, 3), dtype=bool), 5, 1).any()
    two = ball.copy()
    two[0, 0, 0] = True
    assert np.array_equal(morphology.largest_component(two), ball)
    assert np.array_equal(morphology.remove_small_components(two, 0.1), ball)
    assert np.array_equal(morphology.remove_small_components(two, 0.0), two)


@needs_scans
def test_agrees_with_a_freesurfer_mask() -> None:
    volume = read_volume(SHARED / "bids/sub-aomic01/anat/sub-aomic01_T1w.nii.gz")
    reference = nib.load(SHARED / "masks/sub-aomic01_desc-brain_mask.nii.gz")
    found = find_brain(volume.data, volume.affine).mask
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
    volume = read_volume(SHARED / "bids" / f"{name}.nii.gz")
    assert find_brain(volume.data, volume.affine).stripped == stripped
