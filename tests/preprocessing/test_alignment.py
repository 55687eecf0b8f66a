from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.geometry.grid import Grid, inverse_affine
from bids_ihf.geometry.template import load_template
from bids_ihf.io.nifti import Volume
from bids_ihf.preprocessing.alignment import (
    Alignment,
    align,
    align_to_template,
    coverage,
    rigid_part,
)
from bids_ihf.preprocessing.alignment_search import AFFINE_PARAMETERS, RegistrationCost, to_matrix
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.preprocessing.segmentation import Segmentation
from bids_ihf.preprocessing.template_space import template_image
from bids_ihf.preprocessing.tissue_map import tissue_map
from tests.preprocessing.conftest import (
    gap,
    moved_segmentation,
    pose,
    small_brain,
    small_segmentation,
)

REPEAT = """
import hashlib, numpy as np
from bids_ihf.preprocessing.alignment import align
from bids_ihf.preprocessing.bias_field import bias_field
from bids_ihf.preprocessing.tissue_map import tissue_map
from tests.preprocessing.conftest import moved_segmentation, pose, small_brain, small_segmentation
brain, grid, mask = small_brain()
moved = moved_segmentation(pose((9, -5, 7), (5, -8, 12)))
found = align(tissue_map(moved), tissue_map(small_segmentation()))
field = bias_field(brain, grid.affine, mask, shrink=8)
print(hashlib.sha256(found.matrix.tobytes() + field.tobytes()).hexdigest())
"""


@pytest.mark.parametrize(
    "moved",
    [
        pose((9, -5, 7), (5, -8, 12)),
        pose((-32, 14, 30), (20, 20, -25)),
        pose((0, 0, 90), (0, 0, 0)),
        pose((20, 170, -100), (80, -60, 40)),
    ],
)
def test_known_rigid_move_is_found(moved: np.ndarray) -> None:
    found = align(tissue_map(moved_segmentation(moved)), tissue_map(small_segmentation()))
    assert gap(found.matrix @ moved, np.eye(4)) < 1.0
    assert np.allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-5)
    assert np.linalg.det(found.matrix[:3, :3]) > 0
    assert 0.95 < found.similarity <= 1
    assert 0.95 < found.coverage <= 1
    assert found.rotation_degrees == pytest.approx(
        Alignment(inverse_affine(moved), 1.0, 1.0).rotation_degrees, abs=1.0
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_part_of_the_brain_finds_its_place(axis: int) -> None:
    whole = small_segmentation()
    part = [slice(None)] * 3
    middle = int(np.argwhere(whole.brain > 0.5)[:, axis].mean())
    part[axis] = slice(middle - 4, middle + 14)
    start = [0, 0, 0]
    start[axis] = middle - 4
    affine = whole.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    moved = pose((9, -5, 7), (5, -8, 12))
    cut = Segmentation(
        whole.tissue_fractions[(slice(None), *part)],
        whole.field_of_view[tuple(part)],
        Grid(whole.field_of_view[tuple(part)].shape, moved @ affine),
    )
    found = align(tissue_map(cut), tissue_map(whole))
    assert gap(found.matrix @ moved, np.eye(4)) < 2.5
    seen = (whole.brain > 0.5)[tuple(part)].sum() / (whole.brain > 0.5).sum()
    assert found.coverage == pytest.approx(seen, abs=0.05)


def test_coverage_counts_the_brain_and_not_its_box() -> None:
    whole = small_segmentation()
    middle = int(np.argwhere(whole.brain > 0.5)[:, 2].mean())
    shares = whole.tissue_fractions.copy()
    shares[:, :, :, middle:] = np.array([1, 0, 0, 0])[:, None, None, None]
    half = tissue_map(Segmentation(shares, whole.field_of_view, whole.grid))
    seen = half.brain.sum() / (whole.brain > 0.5).sum()
    assert 0.3 < seen < 0.7
    assert coverage(half, tissue_map(whole), np.eye(4)) == pytest.approx(seen)
    assert coverage(tissue_map(whole), half, np.eye(4)) == 1
    # A map leads from moving to fixed, and its direction counts.
    small = np.diag([0.5, 0.5, 0.5, 1.0])
    assert coverage(tissue_map(whole), tissue_map(whole), small) < 0.3
    assert coverage(tissue_map(whole), tissue_map(whole), pose((0, 0, 0), (500, 0, 0))) == 0


def test_known_affine_map_is_found() -> None:
    moved = pose((4, -5, 3), (5, -8, 12)) @ np.diag([0.93, 1.06, 0.97, 1.0])
    still = tissue_map(small_segmentation())
    found = align(tissue_map(moved_segmentation(moved)), still, transform="affine")
    assert gap(found.matrix @ moved, np.eye(4)) < 2.0


def test_small_head_goes_rigidly_to_the_middle_of_the_template() -> None:
    small = pose((9, -5, 7), (5, -8, 12))
    shrunk = small @ np.diag([0.85, 0.85, 0.85, 1.0])
    found = align_to_template(moved_segmentation(shrunk))
    assert np.allclose(found.matrix[:3, :3] @ small[:3, :3], np.eye(3), atol=0.02)
    segmentation = small_segmentation()
    voxel = np.argwhere(segmentation.brain > 0.5).mean(axis=0)
    middle = segmentation.grid.affine @ [*voxel, 1]
    assert np.linalg.norm((found.matrix @ shrunk @ middle - middle)[:3]) < 2.0


def test_no_brain_is_refused() -> None:
    still = small_segmentation()
    empty = Segmentation(
        np.stack([np.ones_like(still.brain), *np.zeros_like(still.tissue_fractions[1:])]),
        still.field_of_view,
        still.grid,
    )
    with pytest.raises(ValueError, match="no brain"):
        align(tissue_map(empty), tissue_map(still))


def test_two_processes_give_the_same_bytes() -> None:
    runs = [
        subprocess.run([sys.executable, "-c", REPEAT], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == hashlib.sha256().digest_size * 2


def test_similarity_of_simple_cases() -> None:
    still = small_segmentation()
    shown = tissue_map(still)
    inside = shown.brain
    points = np.argwhere(inside) @ still.grid.affine[:3, :3].T + still.grid.affine[:3, 3]
    cost = RegistrationCost(points, shown.data[inside], shown.data, shown.grid, np.zeros(3))
    assert cost.similarity(np.eye(4)) == pytest.approx(1.0, abs=1e-5)
    assert cost.similarity(pose((0, 0, 0), (500, 0, 0))) == 0
    assert cost.similarity(pose((0, 0, 0), (30, 0, 0))) < 0.5


def test_parameters_turn_about_the_centre() -> None:
    centre = np.array([3.0, -20, 11])
    turned = to_matrix(np.array([10.0, 5, -3, 0, 0, 0]), centre)
    assert np.allclose((turned @ [*centre, 1])[:3], centre)
    wide = np.zeros(AFFINE_PARAMETERS)
    wide[6:9] = 10
    assert np.linalg.det(to_matrix(wide, centre)[:3, :3]) == pytest.approx(np.exp(0.3))


def test_rigid_part_of_a_stretched_turn_is_the_turn() -> None:
    turn = pose((10, -20, 30), (1, 2, 3))
    centre = np.array([4.0, 5, 6])
    found = rigid_part(turn @ np.diag([1.2, 0.9, 1.1, 1.0]), centre)
    assert np.allclose(np.linalg.det(found[:3, :3]), 1)
    stretched = turn @ np.diag([1.2, 0.9, 1.1, 1.0])
    assert np.allclose((found @ [*centre, 1])[:3], (stretched @ [*centre, 1])[:3])
    assert np.allclose(found[:3, :3], turn[:3, :3])


def test_template_image_by_the_alignment() -> None:
    brain, grid, mask = small_brain()
    moved = pose((9, -5, 7), (5, -8, 12))
    template = load_template()
    header = nib.Nifti1Image(brain, moved @ grid.affine).header
    prepared = Prepared(
        Volume(brain, moved @ grid.affine, header, Path("T1w.nii.gz")),
        np.ones_like(brain), mask, moved_segmentation(moved),
        stripped=True, to_template=inverse_affine(moved), similarity=1.0,
    )  # fmt: skip
    for normalization in ("rigid", "affine"):
        out = template_image(brain, prepared, normalization)
        assert out.shape == template.image.shape
        assert out.dtype == np.float32
        assert np.corrcoef(out[template.mask], template.image[template.mask])[0, 1] > 0.9
        assert out.min() >= brain.min()
        assert out.max() <= brain.max()
