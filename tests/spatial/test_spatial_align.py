from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from bids_ihf.spatial.align import Alignment, align, align_to_template, rigid_part
from bids_ihf.spatial.normalize import template_image
from bids_ihf.spatial.search import AFFINE, correlation_ratio, to_matrix
from bids_ihf.spatial.template import load_template
from bids_ihf.volume.grid import inverse
from tests.spatial.conftest import gap, pose, small_brain

REPEAT = """
import hashlib, numpy as np
from bids_ihf.spatial.align import align
from bids_ihf.spatial.bias import bias_field
from tests.spatial.conftest import pose, small_brain
brain, grid, mask = small_brain()
moved = pose((9, -5, 7), (5, -8, 12)) @ grid.affine
found = align(brain, moved, mask, brain, grid.affine, mask)
field = bias_field(brain, grid.affine, mask, shrink=8)
print(hashlib.sha256(found.matrix.tobytes() + field.tobytes()).hexdigest())
"""


@pytest.mark.parametrize(
    "moved", [pose((9, -5, 7), (5, -8, 12)), pose((-32, 14, 30), (20, 20, -25))]
)
def test_known_rigid_move_is_found(moved: np.ndarray) -> None:
    brain, grid, mask = small_brain()
    found = align(brain, moved @ grid.affine, mask, brain, grid.affine, mask)
    assert gap(found.matrix @ moved, np.eye(4)) < 1.0
    assert np.allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-5)
    assert np.linalg.det(found.matrix[:3, :3]) > 0
    assert 0.8 < found.similarity <= 1


def test_other_contrast() -> None:
    brain, grid, mask = small_brain()
    other = np.where(mask, 900 - brain, 0).astype(np.float32)
    moved = pose((9, -5, 7), (5, -8, 12))
    found = align(other, moved @ grid.affine, mask, brain, grid.affine, mask)
    assert gap(found.matrix @ moved, np.eye(4)) < 1.5


def test_known_affine_map_is_found() -> None:
    brain, grid, mask = small_brain()
    moved = pose((4, -5, 3), (5, -8, 12)) @ np.diag([0.93, 1.06, 0.97, 1.0])
    found = align(brain, moved @ grid.affine, mask, brain, grid.affine, mask, kind="affine")
    assert gap(found.matrix @ moved, np.eye(4)) < 2.0


def test_small_head_goes_rigidly_to_the_middle_of_the_template() -> None:
    brain, grid, mask = small_brain()
    small = pose((9, -5, 7), (5, -8, 12))
    shrunk = small @ np.diag([0.85, 0.85, 0.85, 1.0])
    found = align_to_template(brain, shrunk @ grid.affine, mask)
    assert np.allclose(found.matrix[:3, :3] @ small[:3, :3], np.eye(3), atol=0.02)
    middle = grid.affine @ [*np.argwhere(mask).mean(axis=0), 1]
    assert np.linalg.norm((found.matrix @ shrunk @ middle - middle)[:3]) < 1.5


def test_empty_mask_is_refused() -> None:
    brain, grid, mask = small_brain()
    with pytest.raises(ValueError, match="empty"):
        align(brain, grid.affine, ~mask & mask, brain, grid.affine, mask)


def test_two_processes_give_the_same_bytes() -> None:
    runs = [
        subprocess.run([sys.executable, "-c", REPEAT], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == hashlib.sha256().digest_size * 2


def test_correlation_ratio_of_known_cases() -> None:
    classes = np.repeat([0, 1, 2], 100)
    assert correlation_ratio(np.array([5.0, -1, 3])[classes], classes) == pytest.approx(1)
    noise = np.random.default_rng(0).normal(size=300)
    assert correlation_ratio(noise, classes) < 0.05
    assert correlation_ratio(np.ones(300), classes) == 0
    mixed = np.array([0.0, 2.0])[np.repeat([0, 1], 150)] + np.tile([-1.0, 1.0], 150)
    assert correlation_ratio(mixed, np.repeat([0, 1], 150)) == pytest.approx(0.5)


def test_parameters_turn_about_the_centre() -> None:
    centre = np.array([3.0, -20, 11])
    turned = to_matrix(np.array([10.0, 5, -3, 0, 0, 0]), centre)
    assert np.allclose((turned @ [*centre, 1])[:3], centre)
    wide = np.zeros(AFFINE)
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
    out = template_image(brain, moved @ grid.affine, mask, Alignment(inverse(moved), 1.0), "rigid")
    assert out.shape == template.image.shape
    assert out.dtype == np.float32
    assert np.corrcoef(out[template.mask], template.image[template.mask])[0, 1] > 0.9
    assert out.min() >= brain.min()
    assert out.max() <= brain.max()
