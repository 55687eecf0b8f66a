"""Anatomies from label maps, and those of the demo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bids_ihf.lab.simulation import smooth_fields, subject_warp
from bids_ihf.lab.simulation.demo_anatomy import demo_anatomy
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.label_mixtures import BRAIN_LABELS, LABEL_MIXTURES
from bids_ihf.lab.simulation.tissues import TISSUE_INDEX

if TYPE_CHECKING:
    from bids_ihf.lab.simulation.template_head import TemplateHead

SHARED = Path(
    os.environ.get("IHF_TEST_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")
)
GRID = np.diag([4.0, 4.0, 4.0, 1.0])
GRID[:3, 3] = (-96, -134, -118)
SHAPE = (48, 60, 56)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A toy head in LIA storage: skin, soft tissue, skull, CSF, cortex and white matter."""
    import nibabel as nib

    axis = np.arange(48) - 23.5
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    values = np.select(
        [radius < r for r in (8, 12, 14, 16, 20, 22)], [2, 3, 24, 515, 507, 511], default=0
    )
    values[1:3, 1:3, 1:3] = 24  # a speck beside the head
    affine = np.array([[-1, 0, 0, 20], [0, 0, 1, -9], [0, -1, 0, 30], [0, 0, 0, 1]], dtype=float)
    path = tmp_path / "toy_dseg.nii.gz"
    nib.save(nib.Nifti1Image(values.astype(np.int16), affine), path)
    return path


def test_mixtures_are_whole() -> None:
    for label, mixture in LABEL_MIXTURES.items():
        assert sum(mixture.values()) == pytest.approx(1), label
        assert set(mixture) <= set(TISSUE_INDEX)
    assert set(BRAIN_LABELS) <= set(LABEL_MIXTURES)


def test_labels_become_partial_volumes(labels: Path) -> None:
    anatomy = from_labels(labels, seed=1)
    total = anatomy.fractions.sum(dim=0).numpy()
    assert np.allclose(total, 1, atol=1e-5)
    assert float(anatomy.fractions.min()) >= 0
    white = anatomy.fraction("white")
    assert white.sum() == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.03)
    assert ((white > 0.1) & (white < 0.9)).any()
    # Soft tissue within 7 mm of the skin, all of the toy's, is subcutaneous fat.
    assert float(anatomy.fractions[TISSUE_INDEX["fat"]].max()) > 0.7


def test_labels_keep_their_place_in_the_world(labels: Path) -> None:
    """The middle of the toy's white matter, through its LIA affine, is where RAS says."""
    anatomy = from_labels(labels, seed=1)
    white = anatomy.fraction("white")
    centre = np.argwhere(white > 0.5).mean(axis=0)
    world = anatomy.affine[:3, :3] @ centre + anatomy.affine[:3, 3]
    assert np.allclose(world, (20 - 23.5, 23.5 - 9, 30 - 23.5), atol=0.2)
    assert np.allclose(anatomy.affine[:3, :3], np.eye(3))


def test_speck_beside_the_head_is_cleared(labels: Path) -> None:
    import nibabel as nib

    anatomy = from_labels(labels, seed=1)
    csf = float(anatomy.fractions[TISSUE_INDEX["csf"]].sum())
    values = np.asanyarray(nib.load(labels).dataobj)
    assert csf == pytest.approx((values == 24).sum() - 8, rel=0.01)


def test_seed_is_the_subject(labels: Path) -> None:
    one, again, other = (from_labels(labels, seed=seed) for seed in (1, 1, 2))
    assert one.texture.numpy().tobytes() == again.texture.numpy().tobytes()
    assert abs(np.corrcoef(one.texture.ravel(), other.texture.ravel())[0, 1]) < 0.2
    inside = one.texture[one.brain]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-4)
    assert float(inside.std()) == pytest.approx(1, abs=1e-3)


def test_texture_scales_share_the_variance() -> None:
    """Smoothing at the middle scale leaves the coarse third and part of the middle one."""
    from scipy.ndimage import gaussian_filter

    field = smooth_fields.random_texture((64, 64, 64), np.ones(3), 0, scales_mm=(1.0, 5.0)).numpy()
    assert field.std() == pytest.approx(1, abs=1e-3)
    assert 0.25 < gaussian_filter(field, 2.5, mode="wrap").var() < 0.6


def test_waves_do_not_depend_on_the_grid() -> None:
    """The same field on a grid of half the voxel size has the same values where they meet."""
    import torch

    fine = [np.arange(-1, 1, 0.05, dtype=np.float32)] * 3
    coarse = [axis[::2] for axis in fine]
    one = smooth_fields.random_waves(fine, np.random.default_rng(3), torch.device("cpu"))
    two = smooth_fields.random_waves(coarse, np.random.default_rng(3), torch.device("cpu"))
    assert torch.allclose(one[::2, ::2, ::2], two, atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_a_subjects_warp_does_not_fold(seed: int) -> None:
    axes = [np.arange(-90, 91, 6.0)] * 3
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    mapped = subject_warp.random_subject_warp(seed)(points)
    slopes = np.stack([np.gradient(mapped, 6.0, axis=axis) for axis in range(3)], axis=-1)
    determinant = np.linalg.det(slopes)
    assert determinant.min() > 0.25
    assert determinant.max() < 2.5
    assert 1 < np.abs(mapped - points).max() < 40


class TestDemo:
    """The subjects of the demo, at 4 mm."""

    def test_fractions_and_volumes_are_a_brains(self, head: TemplateHead) -> None:
        anatomy = demo_anatomy(head, 0, shape=SHAPE, affine=GRID)
        assert np.allclose(anatomy.fractions.sum(dim=0).numpy(), 1, atol=1e-3)
        litres = anatomy.fractions.sum(dim=(1, 2, 3)).numpy() * 64e-6
        grey = litres[TISSUE_INDEX["grey"]] + litres[TISSUE_INDEX["deep_grey"]]
        assert 0.5 < grey < 1.3
        assert 0.3 < litres[TISSUE_INDEX["white"]] < 0.9
        assert 0.1 < litres[TISSUE_INDEX["csf"]] < 1.0
        assert 0.003 < litres[TISSUE_INDEX["vitreous"]] < 0.03
        assert litres[TISSUE_INDEX["air"]] > 4

    def test_two_seeds_are_two_subjects(self, head: TemplateHead) -> None:
        one, again, other = (
            demo_anatomy(head, seed, shape=SHAPE, affine=GRID) for seed in (1, 1, 2)
        )
        assert one.fractions.numpy().tobytes() == again.fractions.numpy().tobytes()
        a, b = one.brain.numpy(), other.brain.numpy()
        assert 0.6 < 2 * (a & b).sum() / (a.sum() + b.sum()) < 0.99

    def test_pose_moves_the_same_subject(self, head: TemplateHead) -> None:
        pose = np.eye(4)
        pose[:3, 3] = (8, -4, 12)  # whole voxels
        still = demo_anatomy(head, 1, shape=SHAPE, affine=GRID)
        moved = demo_anatomy(head, 1, pose=pose, shape=SHAPE, affine=GRID)
        back = np.roll(moved.fractions.numpy(), (-2, 1, -3), axis=(1, 2, 3))
        inner = (slice(None), *(slice(6, -6),) * 3)
        # The map is computed on a coarse lattice, so the two differ by a little interpolation.
        assert np.abs(back - still.fractions.numpy())[inner].mean() < 0.01


@pytest.mark.skipif(not (SHARED / "labels").is_dir(), reason="needs the sample scans")
def test_real_label_map_has_a_brain_of_the_usual_size() -> None:
    anatomy = from_labels(SHARED / "labels" / "head-03_dseg.nii.gz", seed=3)
    assert 1.0 < float(anatomy.brain.sum()) * 1e-6 < 1.8
    assert all(side % 8 == 0 for side in anatomy.shape)
