"""Measures, cases and tables of the brain benchmark."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bids_ihf.lab.benchmarks.brain.benchmark import outcome, transform_error
from bids_ihf.lab.benchmarks.brain.cases import Case, block_averaged, randomly_posed
from bids_ihf.lab.benchmarks.brain.tables import (
    ALL_ROWS,
    POSE_OUTCOMES,
    brain_tables,
    by_condition,
    by_pose,
)
from bids_ihf.lab.benchmarks.metrics.overlap import dice, surface_distance
from bids_ihf.preprocessing.prepare import (
    MIN_COVERAGE_TRUSTED,
    MIN_SIMILARITY_ACCEPTED,
    MIN_SIMILARITY_TRUSTED,
)


def cube(low: int, high: int, size: int = 20) -> np.ndarray:
    mask = np.zeros((size, size, size), dtype=bool)
    mask[low:high, low:high, low:high] = True
    return mask


def test_dice_of_masks_and_shares() -> None:
    assert dice(cube(4, 12), cube(4, 12)) == 1
    assert dice(cube(0, 4), cube(8, 12)) == 0
    assert dice(cube(4, 12), cube(4, 8)) == pytest.approx(2 * 64 / (512 + 64))
    half = np.full((2, 2), 0.5)
    assert dice(half, np.ones((2, 2))) == pytest.approx(2 / 3)
    assert dice(cube(0, 0), cube(0, 0)) == 1


def test_surface_distance_is_in_millimetres() -> None:
    zooms = np.array([1.0, 1.0, 1.0])
    assert surface_distance(cube(4, 12), cube(4, 12), zooms) == 0
    # Every surface voxel of the inner cube is 2 from the outer surface; from there the way back
    # is to the nearest point of the inner cube.
    outer, inner = cube(4, 16), cube(6, 14)
    voxels = np.argwhere(outer & ~cube(5, 15))
    outward = np.linalg.norm(voxels - voxels.clip(6, 13), axis=1)
    inward = np.full((inner & ~cube(7, 13)).sum(), 2.0)
    expected = np.percentile(np.concatenate([outward, inward]), 95)
    assert 2 < expected < np.sqrt(12)
    assert surface_distance(outer, inner, zooms) == pytest.approx(expected)
    assert surface_distance(inner, outer, 3 * zooms) == pytest.approx(3 * expected)
    assert np.isnan(surface_distance(cube(4, 16), cube(0, 0), zooms))


def case() -> Case:
    data = np.arange(20**3, dtype=np.float32).reshape(20, 20, 20)
    return Case("T1w", data, np.diag([4.0, 4, 4, 1]), cube(2, 18))


def test_blocks_keep_their_place() -> None:
    found = block_averaged(case(), "thick", (1, 2, 4))
    assert found.data.shape == (20, 10, 5)
    assert found.data[3, 0, 0] == case().data[3, :2, :4].mean()
    world = found.affine @ [3, 0, 0, 1]
    assert world[:3].tolist() == [12, 2, 6]  # the middle of the block


def test_poses_move_header_and_head_together() -> None:
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(40):
        pose = randomly_posed(case(), rng)
        kinds.add(pose.kind)
        assert np.allclose(pose.motion[:3, :3] @ pose.motion[:3, :3].T, np.eye(3))
        assert np.linalg.det(pose.motion[:3, :3]) > 0
        # The first voxel of what is left is where it was, moved.
        first = int(pose.data.flat[0])
        index = np.unravel_index(first, (20, 20, 20))
        expected = pose.motion @ case().affine @ [*index, 1]
        assert np.allclose(pose.affine[:, 3], expected)
    assert kinds == {"tilted", "tilted, cut", "axes exchanged", "axes exchanged, cut"}


def test_error_of_a_transform() -> None:
    shifted = np.eye(4)
    shifted[:3, 3] = (3, 4, 0)
    assert transform_error(np.eye(4), np.eye(4)) == 0
    assert transform_error(shifted, np.eye(4)) == pytest.approx(5)


@pytest.mark.parametrize(
    ("similarity", "coverage", "error", "expected"),
    [
        (1.0, 1.0, 2.0, "found"),
        (1.0, 1.0, 30.0, "silent"),
        (1.0, MIN_COVERAGE_TRUSTED - 0.01, 2.0, "doubted"),
        (1.0, MIN_COVERAGE_TRUSTED - 0.01, 30.0, "warned"),
        ((MIN_SIMILARITY_ACCEPTED + MIN_SIMILARITY_TRUSTED) / 2, 1.0, 2.0, "doubted"),
        ((MIN_SIMILARITY_ACCEPTED + MIN_SIMILARITY_TRUSTED) / 2, 1.0, 30.0, "warned"),
        (0.0, 1.0, 2.0, "refused needlessly"),
        (0.0, 0.0, float("nan"), "refused"),
    ],
)
def test_outcomes(similarity: float, coverage: float, error: float, expected: str) -> None:
    assert outcome(similarity, coverage, error) == expected


def test_every_outcome_has_its_column() -> None:
    """Alignments of any quality, right or wrong: what they come to is what the table counts."""
    grid = itertools.product(np.linspace(0, 1, 21), np.linspace(0, 1, 21), (2.0, 30.0))
    assert {outcome(*alignment) for alignment in grid} == set(POSE_OUTCOMES)


def test_tables_hold_means_and_the_worst() -> None:
    rows = [
        {"subject": "a", "condition": "T1w", "method": "ours", "dice": 0.9, "mask_s": 2.0},
        {"subject": "b", "condition": "T1w", "method": "ours", "dice": 0.8, "mask_s": 4.0},
        {"subject": "b", "condition": "T2w", "method": "ours", "dice": 1.0, "mask_s": 3.0},
    ]
    table = by_condition(rows)
    assert [(row["condition"], row["scans"]) for row in table] == [
        ("T1w", 2),
        ("T2w", 1),
        (ALL_ROWS, 3),
    ]
    assert table[0]["dice"] == pytest.approx(0.85)
    assert table[0]["dice_least"] == 0.8
    assert np.isnan(table[0]["error_mm_most"])
    poses = [
        {"subject": "a", "modality": "T1w", "pose": pose, "outcome": found, "similarity": 0.7,
         "error_mm": 3.0, "seconds": 1.0}
        for pose, found in (("tilted", "found"), ("tilted", "silent"), ("cut", "found"))
    ]  # fmt: skip
    counts = {row["pose"]: row for row in by_pose(poses)}
    assert counts[ALL_ROWS]["silent"] == counts["tilted"]["silent"] == 1
    assert counts["cut"]["found"] == 1
    tables = brain_tables(rows, poses)
    assert set(tables) == {"brain", "brain_subjects", "brain_poses", "brain_poses_subjects"}
    for name, table in tables.items():
        lines = table.files(name, {"Seed": 1})[f"{name}.tsv"].decode().splitlines()
        assert len(lines) == 1 + len(table.rows)
