from __future__ import annotations

import os
from pathlib import Path

import pytest

from bids_ihf.bids.discovery import find_images
from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.masks import find_mask


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def image(root: Path, name: str) -> SourceImage:
    make(root, name)
    return SourceImage.from_path(root / name, root)


@pytest.mark.parametrize(
    ("source", "mask"),
    [
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_desc-brain_mask.nii.gz"),
        (
            "sub-1/ses-A/anat/sub-1_ses-A_acq-x_run-1_part-mag_T1w.nii.gz",
            "sub-1/ses-A/anat/sub-1_ses-A_acq-x_run-1_desc-brain_mask.nii.gz",
        ),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_label-brain_mask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_T1w_mask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1_desc-brain_mask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/mri/brainmask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/mri/brainmask.mgz"),
        ("sub-1/ses-A/anat/sub-1_ses-A_T1w.nii.gz", "sub-1_ses-A/mri/brainmask.mgz"),
        (
            "sub-1/ses-A/anat/sub-1_ses-A_T1w.nii.gz",
            "sub-1/ses-A/anat/sub-1_ses-A_T1w_bet_mask.nii.gz",
        ),
        ("sub-1/ses-A/anat/sub-1_ses-A_T1w.nii.gz", "sub-1/sub-1_ses-A_T1w_bet.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1_T1w_brain_mask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_T1w_synthstrip_mask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_BrainExtractionMask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_T1wBrainExtractionMask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_space-T1w_desc-brain_mask.nii.gz"),
        (
            "sub-1/dwi/sub-1_space-ACPC_desc-preproc_dwi.nii.gz",
            "sub-1/dwi/sub-1_space-ACPC_desc-brain_mask.nii.gz",
        ),
        ("sub-1/ses-A/anat/sub-1_ses-A_T1w.nii", "sub-1_ses-A/mri/brainmask.nii.gz"),
        ("sub-1/anat/sub-1_T2w.nii.gz", "sub-1/anat/sub-1_T2w_brainmask.nii"),
        ("sub-1/anat/sub-1_acq-i_T2w.nii.gz", "sub-1/anat/sub-1_acq-i_desc-brain_mask.nii.gz"),
        ("sub-1/dwi/sub-1_dir-AP_dwi.nii.gz", "sub-1/dwi/sub-1_dir-AP_desc-brain_mask.nii.gz"),
    ],
)
def test_masks_of_known_names_are_found(tmp_path: Path, source: str, mask: str) -> None:
    scan = image(tmp_path / "raw", source)
    folder = make(tmp_path / "a pipeline", mask)
    assert find_mask([tmp_path / "none", folder], scan) == folder / mask


@pytest.mark.parametrize(
    ("source", "mask"),
    [
        # Another grid, another run, averaged runs or sessions, another person.
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_space-MNI_desc-brain_mask.nii.gz"),
        ("sub-1/dwi/sub-1_dwi.nii.gz", "sub-1/dwi/sub-1_space-T1w_desc-brain_mask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_T1w.nii.gz"),
        ("sub-1/anat/sub-1_run-2_T1w.nii.gz", "sub-1/anat/sub-1_run-1_desc-brain_mask.nii.gz"),
        ("sub-1/anat/sub-1_run-2_T1w.nii.gz", "sub-1/anat/sub-1_desc-brain_mask.nii.gz"),
        ("sub-1/ses-A/anat/sub-1_ses-A_T1w.nii.gz", "sub-1/anat/sub-1_desc-brain_mask.nii.gz"),
        ("sub-1/ses-A/anat/sub-1_ses-A_T1w.nii.gz", "sub-1/mri/brainmask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-11/anat/sub-11_desc-brain_mask.nii.gz"),
        ("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_desc-lesion_mask.nii.gz"),
        ("sub-1/anat/sub-1_T2w.nii.gz", "sub-1/mri/brainmask.nii.gz"),
    ],
)
def test_masks_that_do_not_fit_are_not_taken(tmp_path: Path, source: str, mask: str) -> None:
    scan = image(tmp_path / "raw", source)
    assert find_mask([make(tmp_path / "pipeline", mask)], scan) is None


@pytest.mark.parametrize("suffix", ["T2w", "FLAIR"])
def test_the_mask_of_the_t1w_is_not_that_of_another_image(tmp_path: Path, suffix: str) -> None:
    t1w = image(tmp_path / "raw", "sub-1/anat/sub-1_T1w.nii.gz")
    other = image(tmp_path / "raw", f"sub-1/anat/sub-1_{suffix}.nii.gz")
    mask = "sub-1/anat/sub-1_desc-brain_mask.nii.gz"
    folder = make(tmp_path / "pipeline", mask)
    assert find_mask([folder], t1w) == folder / mask
    assert find_mask([folder], other) is None
    own_mask = f"sub-1/anat/sub-1_desc-brain{suffix}_mask.nii.gz"
    assert find_mask([make(folder, own_mask)], other) == folder / own_mask


def test_freesurfer_is_not_taken_where_its_source_is_unclear(tmp_path: Path) -> None:
    folder = make(tmp_path / "fs", "sub-1/mri/brainmask.nii.gz")
    scan = image(tmp_path / "raw", "sub-1/anat/sub-1_T1w.nii.gz")
    image(tmp_path / "raw", "sub-1/anat/sub-1_acq-b_T1w.nii.gz")
    assert find_mask([folder], scan) is None


def test_first_folder_wins_and_a_dangling_mask_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scan = image(tmp_path / "raw", "sub-1/anat/sub-1_T1w.nii.gz")
    name = "sub-1/anat/sub-1_desc-brain_mask.nii.gz"
    one, two = tmp_path / "one", make(tmp_path / "two", name)
    (one / name).parent.mkdir(parents=True)
    (one / name).symlink_to("gone")
    assert find_mask([one, two], scan) == two / name
    assert f"{one / name} is a link without content" in caplog.text
    make(tmp_path / "three", name)
    assert find_mask([two, tmp_path / "three"], scan) == two / name


def test_the_real_freesurfer_mask_is_found() -> None:
    shared = Path(
        os.environ.get("IHF_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
    )
    if not shared.is_dir():
        pytest.skip("needs the sample scans")
    (scan,) = find_images(shared / "bids", "aomic01", derivatives=[shared / "masks"])
    assert scan.mask == shared / "masks" / "sub-aomic01_desc-brain_mask.nii.gz"
    assert scan.vendor == "Philips"
