"""Scans that are no magnitude image, and air as bright as the head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bids_ihf.errors import BadData
from bids_ihf.io.nifti import Volume
from bids_ihf.preprocessing.intensities import check_not_signed, has_bright_air
from bids_ihf.preprocessing.prepare import prepare
from tests.preprocessing.conftest import dice, save, whole_head

DATA, GRID, MASK = whole_head()
BRAIN = np.where(MASK, DATA, np.float32(0))


def z_scored(data: np.ndarray, within: np.ndarray) -> np.ndarray:
    return (data - data[within].mean()) / data[within].std()


def check(data: np.ndarray, name: str = "sub-1_T1w.nii.gz") -> None:
    check_not_signed(Volume(data.astype(np.float32), GRID.affine, None, Path(name)))


@pytest.mark.parametrize(
    "data",
    [
        z_scored(DATA, MASK),
        z_scored(DATA, np.ones_like(MASK)),
        z_scored(BRAIN, MASK),
        np.where(MASK, z_scored(DATA, MASK), 0),
        DATA - DATA.mean(),
        BRAIN - 0.2 * BRAIN.max(),
    ],
    ids=["head", "by all voxels", "brain", "brain beside zeros", "zero mean", "background"],
)
def test_signed_images_are_refused(data: np.ndarray) -> None:
    with pytest.raises(
        BadData, match=r"below zero .* give the image before normalization"
    ) as caught:
        check(data)
    assert str(caught.value).count(". ") == 0, "one sentence"


def test_mp2rage_between_minus_and_plus_a_half_is_told_by_name() -> None:
    with pytest.raises(BadData, match="MP2RAGE UNI image in its range from 0 to 4095"):
        check(BRAIN / BRAIN.max() - 0.5, "sub-1_acq-mp2rage_rec-uni_T1w.nii.gz")


@pytest.mark.parametrize("order", [3, 5])
def test_undershoot_of_interpolation_is_accepted(order: int) -> None:
    moved = ndimage.shift(BRAIN, (0.5, 0.5, 0.5), order=order)
    assert moved.min() < -0.05 * moved.max()
    check(moved)


def noisy_air() -> np.ndarray:
    """A head as MP2RAGE UNI shows it: noise over the whole range where there is no signal."""
    noise = np.random.default_rng(0).uniform(0, 4095, DATA.shape)
    data = 2500 * DATA / np.percentile(DATA[MASK], 99)
    return np.where((data < 250) & ~MASK, noise, data).astype(np.float32)


def test_air_of_ordinary_scans_is_dark() -> None:
    rng = np.random.default_rng(0)
    noise = 0.03 * DATA.max() * np.abs(rng.standard_normal(DATA.shape)).astype(np.float32)
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in np.nonzero(MASK))
    for data in (DATA, BRAIN, DATA + noise, DATA[box]):
        assert not has_bright_air(data)
    assert has_bright_air(noisy_air())


def test_noisy_air_is_told_and_a_mask_helps(tmp_path: Path) -> None:
    path = save(tmp_path / "sub-1_acq-mp2rage_T1w.nii.gz", noisy_air(), GRID.affine)
    with pytest.raises(BadData, match="as in an MP2RAGE UNI image; give the denoised image, or"):
        prepare(path, modality="T1w")
    mask = save(tmp_path / "mask.nii.gz", MASK.astype(np.float32), GRID.affine)
    plain = prepare(save(tmp_path / "T1w.nii.gz", BRAIN, GRID.affine), modality="T1w")
    prepared = prepare(path, modality="T1w", mask_path=mask)
    assert dice(prepared.mask, MASK) == 1.0
    assert not prepared.stripped
    assert np.allclose(prepared.to_template, plain.to_template, atol=0.5)
    assert np.allclose(prepared.bias[MASK], plain.bias[MASK], rtol=0.05)
