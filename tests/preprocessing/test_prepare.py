from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from bids_ihf.errors import BadData
from bids_ihf.preprocessing.prepare import (
    MIN_COVERAGE_TRUSTED,
    MIN_SIMILARITY_TRUSTED,
    Prepared,
    alignment_warning,
    prepare,
)
from bids_ihf.preprocessing.segmentation import Segmentation
from bids_ihf.preprocessing.template_space import template_image
from tests.preprocessing.conftest import (
    dice,
    gap,
    pose,
    save,
    small_brain,
    small_segmentation,
    whole_head,
)

MOVED = pose((7, -5, 6), (5, -8, 12))


@pytest.fixture
def no_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """N4 is slow and has tests of its own."""
    monkeypatch.setattr(
        "bids_ihf.preprocessing.prepare.bias_field", lambda data, affine, mask: np.ones_like(data)
    )


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    data, grid, _ = whole_head()
    path = save(tmp_path_factory.mktemp("head") / "T1w.nii.gz", data, MOVED @ grid.affine)
    return prepare(path, modality="T1w")


def test_whole_head(head: Prepared) -> None:
    _, _, mask = whole_head()
    assert dice(head.mask, mask) > 0.93
    assert not head.stripped
    assert gap(head.to_template @ MOVED, np.eye(4)) < 12.0  # people differ from the template
    assert head.similarity is not None
    assert head.similarity > 0.5
    assert head.coverage is not None
    assert head.coverage > 0.85
    assert head.seconds > 0
    assert head.bias.shape == head.mask.shape == head.volume.data.shape
    assert np.allclose(head.corrected * head.bias, head.volume.data, rtol=1e-5)


@pytest.mark.usefixtures("no_bias")
def test_second_contrast_goes_by_its_anchor(head: Prepared, tmp_path: Path) -> None:
    data, grid, brain = whole_head()
    there = pose((-4, 8, 3), (-9, 4, 2))
    dark = np.where(brain, data.max() - data, data)
    path = save(tmp_path / "T2w.nii.gz", dark, there @ grid.affine)
    found = prepare(path, modality="T2w", t1w_reference=head)
    assert gap(found.to_template @ there, head.to_template @ MOVED) < 2.5
    assert dice(found.mask, head.mask) > 0.95
    assert found.coverage == head.coverage


@pytest.mark.usefixtures("no_bias")
def test_anchor_that_does_not_fit_is_left(
    head: Prepared,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, grid, _ = whole_head()
    path = save(tmp_path / "T2w.nii.gz", data, grid.affine)
    for name in ("MIN_SIMILARITY_TO_T1W", "MIN_SIMILARITY_TRUSTED"):
        monkeypatch.setattr(f"bids_ihf.preprocessing.prepare.{name}", 0.9999)
    with caplog.at_level(logging.WARNING):
        found = prepare(path, modality="T2w", t1w_reference=head)
    assert "does not match T1w.nii.gz" in caplog.text
    assert "may be wrong" in caplog.text
    assert gap(found.to_template, head.to_template @ MOVED) < 2.5


@pytest.mark.usefixtures("no_bias")
def test_a_brain_that_does_not_fit_the_template_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, grid, _ = whole_head()
    path = save(tmp_path / "T1w.nii.gz", data, grid.affine)
    monkeypatch.setattr("bids_ihf.preprocessing.prepare.MIN_SIMILARITY_ACCEPTED", 0.9999)
    with pytest.raises(BadData, match=r"T1w\.nii\.gz: the brain does not match the template"):
        prepare(path, modality="T1w")


@pytest.mark.usefixtures("no_bias")
def test_a_part_of_a_brain_is_doubted_however_well_it_fits(
    head: Prepared,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, grid, mask = whole_head()
    middle = int(np.argwhere(mask)[:, 2].mean())
    part = np.zeros_like(data)  # kept in a box of zeros, as some tools leave it
    part[:, :, middle : middle + 28] = data[:, :, middle : middle + 28]
    path = save(tmp_path / "T1w.nii.gz", part, grid.affine)
    for name in ("MIN_SIMILARITY_ACCEPTED", "MIN_SIMILARITY_TRUSTED"):
        monkeypatch.setattr(f"bids_ihf.preprocessing.prepare.{name}", 0.0)
    with caplog.at_level(logging.WARNING):
        found = prepare(path, modality="T1w")
    assert found.coverage is not None
    assert found.coverage < MIN_COVERAGE_TRUSTED
    assert "of a brain is visible" in caplog.text
    assert head.coverage is not None
    assert alignment_warning(1.0, head.coverage) is None


@pytest.mark.parametrize(
    ("similarity", "coverage", "words"),
    [
        (1.0, 1.0, None),
        (1.0, None, None),
        (1.0, MIN_COVERAGE_TRUSTED - 0.01, "of a brain"),
        (MIN_SIMILARITY_TRUSTED - 0.01, 1.0, "similarity"),
        (MIN_SIMILARITY_TRUSTED - 0.01, None, "similarity"),
    ],
)
def test_doubt(similarity: float, coverage: float | None, words: str | None) -> None:
    found = alignment_warning(similarity, coverage)
    assert found is None if words is None else words in str(found)


@pytest.mark.usefixtures("no_bias")
def test_a_header_that_lies_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, grid, _ = whole_head()
    turned = pose((0, 0, 90), (0, 0, 0))
    path = save(tmp_path / "T1w.nii.gz", data, turned @ grid.affine)
    with caplog.at_level(logging.WARNING):
        found = prepare(path, modality="T1w")
    assert "correct the header" in caplog.text
    assert gap(found.to_template @ turned, np.eye(4)) < 12.0


def test_preprocessed_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brain, grid, _ = small_brain()
    slab = brain[:, :, 25:32]
    segmented: list[str] = []

    def segment(*_: object) -> Segmentation:
        segmented.append("once")
        return small_segmentation()

    for module in ("prepare", "brain_mask"):
        monkeypatch.setattr(f"bids_ihf.preprocessing.{module}.segment", segment)
    found = prepare(
        save(tmp_path / "T1w.nii.gz", slab, grid.affine), modality="T1w", preprocessed=True
    )
    rigid = template_image(slab, found, "rigid")
    assert not segmented  # nothing that was asked for needs the tissues
    affine = template_image(slab, found, "affine")
    assert segmented == ["once"]
    assert affine.shape == rigid.shape
    assert np.array_equal(found.mask, slab != 0)
    assert (found.bias == 1).all()
    assert np.array_equal(found.to_template, np.eye(4))
    assert found.similarity is None
    assert found.coverage is None


def test_a_mask_of_a_preprocessed_scan_is_used_or_refused(tmp_path: Path) -> None:
    brain, grid, _ = small_brain()
    path = save(tmp_path / "T1w.nii.gz", brain, grid.affine)
    inner = np.zeros_like(brain)
    inner[:, :, 25:32] = 1
    mask = save(tmp_path / "mask.nii.gz", inner, grid.affine)
    found = prepare(path, modality="T1w", preprocessed=True, mask_path=mask)
    assert np.array_equal(found.mask, (brain != 0) & (inner != 0))
    with pytest.raises(BadData, match="nowhere"):
        prepare(path, modality="T1w", preprocessed=True, mask_path=tmp_path / "nowhere.nii.gz")
    air = save(tmp_path / "air.nii.gz", (brain == 0).astype(np.float32), grid.affine)
    with pytest.raises(BadData, match="no voxel of T1w"):
        prepare(path, modality="T1w", preprocessed=True, mask_path=air)


@pytest.mark.usefixtures("no_bias")
def test_given_mask_on_another_grid_is_used(tmp_path: Path) -> None:
    brain, grid, mask = small_brain()
    path = save(tmp_path / "T1w.nii.gz", brain, grid.affine)
    other = mask[::-1].astype(np.float32)
    other[:, :, 40:] = 0
    flipped = grid.affine @ np.diag([-1, 1, 1, 1.0])
    flipped[:3, 3] = (grid.affine @ [mask.shape[0] - 1, 0, 0, 1])[:3]
    mask_path = save(tmp_path / "mask.nii.gz", other, flipped)
    found = prepare(path, modality="T1w", mask_path=mask_path)
    wanted = mask.copy()
    wanted[:, :, 40:] = False
    assert np.array_equal(found.mask, wanted)


@pytest.mark.usefixtures("no_bias")
def test_mask_elsewhere_is_refused(tmp_path: Path) -> None:
    brain, grid, mask = small_brain()
    path = save(tmp_path / "T1w.nii.gz", brain, grid.affine)
    away = save(tmp_path / "mask.nii.gz", mask, pose((0, 0, 0), (900, 0, 0)) @ grid.affine)
    with pytest.raises(BadData, match=r"mask\.nii\.gz"):
        prepare(path, modality="T1w", mask_path=away)


def test_no_brain_is_told(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 1000, (8, 8, 8))
    path = save(tmp_path / "sub-01_T1w.nii.gz", noise, np.eye(4))
    with pytest.raises(BadData, match="no brain"):
        prepare(path, modality="T1w")
