"""Which scans belong to which scanner, and who shows what of it to whom."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.bids.images import SourceImage
from bids_ihf.errors import BadData, NothingSelected
from bids_ihf.geometry.grid import Grid
from bids_ihf.lab.benchmarks.travellers.scans import (
    SLICE_SPACING_MM,
    common_slices,
    enclosing_grid,
    find_travel_images,
    move_to_grid,
    read_scans,
    scanner_of,
    travels_of,
)
from bids_ihf.network.checkpoint import load_encoder
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import NetworkInput


def scan_from(z: int, slices: int) -> NetworkInput:
    affine = np.eye(4)
    affine[:3, 3] = (-5, 3, z)
    data = np.random.default_rng(z).random((6, 7, slices), dtype=np.float32)
    return NetworkInput(data, np.ones_like(data), Grid(data.shape, affine), IntensityScale(0, 1))


@pytest.mark.parametrize(
    ("name", "scanner"),
    [
        ("sub-1_ses-b_T1w.nii.gz", "b"),
        ("sub-1_ses-b_acq-c_T1w.nii.gz", "c"),
        ("sub-1_acq-c_T1w.nii.gz", "c"),
        ("sub-1_T1w.nii.gz", None),
    ],
)
def test_the_scanner_is_told_by_acquisition_or_session(name: str, scanner: str | None) -> None:
    assert scanner_of(SourceImage.from_path(Path("anat") / name, Path())) == scanner


def test_two_images_by_one_scanner_are_refused(dataset: Path) -> None:
    path = next(dataset.glob("sub-0/ses-a/anat/*_T1w.nii.gz"))
    nib.save(nib.load(path), path.with_name("sub-0_ses-a_run-2_T1w.nii.gz"))
    with pytest.raises(BadData, match="by scanner a"):
        find_travel_images(dataset, "T1w")


def test_scans_are_copied_to_the_grid_that_holds_them_all() -> None:
    low, high = scan_from(10, 4), scan_from(12, 6)
    grid = enclosing_grid([low.grid, high.grid])
    assert tuple(grid.shape) == (6, 7, 8)
    moved = move_to_grid(high, grid)
    np.testing.assert_array_equal(moved.data[:, :, 2:], high.data)
    assert moved.brain_slices.tolist() == list(range(2, 8))
    assert moved.z.tolist() == list(range(10, 18))


def test_slices_in_common_have_neighbours_and_are_spaced() -> None:
    slab, volume = scan_from(0, 3), scan_from(0, 60)
    assert common_slices(slab, slab).tolist() == [1]
    spaced = common_slices(volume, volume)
    assert np.diff(spaced).tolist() == [SLICE_SPACING_MM] * (len(spaced) - 1)
    assert 0 < spaced[0]
    assert spaced[-1] < 59
    assert common_slices(slab, volume).tolist() == [1]


def test_the_subject_is_left_out_of_what_others_show(dataset: Path) -> None:
    travels = list(travels_of(read_scans(dataset, "T1w", load_encoder()[0])))
    assert len(travels) == 6
    for travel in travels:
        subject = travel.source.subject
        assert travel.truth.subject == subject
        assert {scan.subject for scan in travel.others} == {"0", "1", "2"} - {subject}
        assert {scan.scanner for scan in travel.others} == {travel.truth.scanner}
        for before, after in travel.pairs:
            assert before.subject == after.subject != subject
            assert (before.scanner, after.scanner) == (
                travel.source.scanner, travel.truth.scanner,
            )  # fmt: skip


def test_two_subjects_are_too_few(dataset: Path) -> None:
    scans = [s for s in read_scans(dataset, "T1w", load_encoder()[0]) if s.subject != "0"]
    with pytest.raises(NothingSelected, match="3 subjects"):
        list(travels_of(scans))
