"""``ihf benchmark --brain``: brain mask, tissues and registration on heads not trained on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.geometry.grid import inverse_affine, resample
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.brain.cases import (
    conditions,
    downsampled,
    load_whole_head,
    randomly_posed,
    scan_head,
)
from bids_ihf.lab.benchmarks.brain.tables import brain_tables
from bids_ihf.lab.benchmarks.metrics.overlap import dice, surface_distance
from bids_ihf.lab.benchmarks.process_pool import run_tasks, worker_pool
from bids_ihf.lab.benchmarks.vendors.plan import label_map
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.lab.simulation.random_scanners import random_scanner
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.network.checkpoint import segmenter_hash
from bids_ihf.preprocessing.alignment import align_to_template
from bids_ihf.preprocessing.itk import load_ants, to_ants
from bids_ihf.preprocessing.prepare import MIN_SIMILARITY_ACCEPTED, alignment_warning
from bids_ihf.preprocessing.segmentation import segment
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.brain.cases import Case, Pose
    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject

HEAD_RADIUS_MM, HEAD_CENTRE_MM = 70.0, (0.0, -18.0, 10.0)
"""Sphere in template space on which two transforms are compared."""

MAX_TRANSFORM_ERROR_MM = 10.0
"""Error from which on a transform counts as wrong."""

ATLAS_SUBJECT = "head-01"
"""Label map whose mask is registered to the others, for comparison."""


def measure_heads(
    labels: Path, subjects: Sequence[str], *, poses: int, seed: int, jobs: int
) -> tuple[list[Row], list[Row]]:
    """Rows by subject and condition, and by subject and pose, ``jobs`` subjects at a time.

    ``poses`` is the number over all subjects.
    """
    tasks = [(labels, name, poses // len(subjects), seed) for name in subjects]
    with worker_pool(jobs) as pool:
        measured = run_tasks(pool, _measure_subject, tasks, "Measured")
    return (
        [row for mask_rows, _ in measured for row in mask_rows],
        [row for _, subject_poses in measured for row in subject_poses],
    )


def write_brain_results(
    folder: Path, labels: Path, subjects: Sequence[str], *, poses: int, seed: int, jobs: int
) -> list[Row]:
    """Measure, write the tables, and return the rows by condition.

    Raises
    ------
    CannotWrite
        A file cannot be written.
    """
    mask_rows, all_poses = measure_heads(labels, subjects, poses=poses, seed=seed, jobs=jobs)
    command = f"ihf benchmark LABELS_DIR -o OUT_DIR --brain --people {' '.join(subjects)}"
    facts = {
        "Command": f"{command} --poses {poses} --seed {seed}",
        "People": list(subjects),
        "Seed": seed,
        "Version": __version__,
        "Hashes": {"brain": segmenter_hash()},
    }
    tables = brain_tables(mask_rows, all_poses)
    for name, table in tables.items():
        for filename, content in table.files(name, {"Benchmark": facts}).items():
            write_atomic(folder / filename, content)
    return list(tables["brain"].rows)


def _measure_subject(
    labels: Path, name: str, poses: int, seed: int
) -> tuple[list[Row], list[Row]]:
    subject = load_whole_head(label_map(labels, name), name, seed)
    rows = [mask_row(subject, case) for case in conditions(subject, seed)]
    atlas = load_whole_head(label_map(labels, ATLAS_SUBJECT), ATLAS_SUBJECT, seed)
    rows += atlas_rows(atlas, subject, seed)
    return rows, list(pose_rows(subject, poses, seed))


def mask_row(subject: RegisteredSubject, case: Case) -> Row:
    """Agreement of mask and tissues with the truth, their time, and the transform's error."""
    start = time.perf_counter()
    segmentation = segment(case.data, case.affine)
    mask = segmentation.brain_on(case.grid)
    mask_seconds = time.perf_counter() - start
    start = time.perf_counter()
    alignment = align_to_template(segmentation)
    align_seconds = time.perf_counter() - start
    row = _mask_agreement(subject, case, "ours", mask, mask_seconds)
    for name, estimate, fraction in zip(
        ("grey", "white", "csf"),
        segmentation.tissue_fractions[1:],
        subject.segmentation.tissue_fractions[1:],
        strict=True,
    ):
        truth = resample(fraction, subject.segmentation.grid, segmentation.grid)
        row[f"dice_{name}"] = dice(estimate, truth * segmentation.field_of_view)
    return row | {
        "align_s": align_seconds,
        "similarity": alignment.similarity,
        "error_mm": transform_error(alignment.matrix, subject.to_template),
    }


def _mask_agreement(
    subject: RegisteredSubject, case: Case, method: str, mask: NDArray[np.bool_], seconds: float
) -> Row:
    return {
        "subject": subject.name,
        "condition": case.condition,
        "method": method,
        "dice": dice(mask, case.region),
        "hd95_mm": surface_distance(mask, case.region, case.grid.zooms),
        "mask_s": seconds,
    }


def pose_rows(subject: RegisteredSubject, count: int, seed: int) -> Iterable[Row]:
    """What becomes of a head in ``count`` random poses, T1w and T2w in turn."""
    rng = np.random.default_rng(seed_of(seed, subject.name, "poses"))
    scans = []
    for modality in ("T1w", "T2w"):
        scanner_seed = seed_of(seed, subject.name, modality, "poses")
        scanner = random_scanner(modality, scanner_seed)
        scans.append(downsampled(scan_head(subject, modality, scanner, scanner_seed)))
    for number in range(count):
        case = scans[number % len(scans)]
        yield pose_row(subject, case.condition, randomly_posed(case, rng))


def pose_row(subject: RegisteredSubject, modality: str, pose: Pose) -> Row:
    """Whether a pose was registered, and if not, whether that was noticed."""
    start = time.perf_counter()
    segmentation = segment(pose.data, pose.affine)
    error, similarity, coverage = float("nan"), 0.0, 0.0
    if segmentation.brain.any():
        alignment = align_to_template(segmentation)
        truth = subject.to_template @ inverse_affine(pose.motion)
        error = transform_error(alignment.matrix, truth)
        similarity, coverage = alignment.similarity, alignment.coverage
    return {
        "subject": subject.name,
        "modality": modality,
        "pose": pose.kind,
        "similarity": similarity,
        "coverage": coverage,
        "error_mm": error,
        "outcome": outcome(similarity, coverage, error),
        "seconds": time.perf_counter() - start,
    }


def outcome(similarity: float, coverage: float, error_mm: float) -> str:
    """What became of a head, a key of ``POSE_OUTCOMES`` of the tables."""
    is_correct = error_mm < MAX_TRANSFORM_ERROR_MM
    if similarity < MIN_SIMILARITY_ACCEPTED:
        return "refused needlessly" if is_correct else "refused"
    if alignment_warning(similarity, coverage):
        return "doubted" if is_correct else "warned"
    return "found" if is_correct else "silent"


def transform_error(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Largest distance (mm) between a point of the head's sphere under two transforms (4, 4)."""
    points = np.random.default_rng(0).normal(size=(200, 3))
    points = HEAD_RADIUS_MM * points / np.linalg.norm(points, axis=1)[:, None] + HEAD_CENTRE_MM
    back = inverse_affine(second)
    points = points @ back[:3, :3].T + back[:3, 3]
    mapped = [points @ matrix[:3, :3].T + matrix[:3, 3] for matrix in (first, second)]
    return float(np.linalg.norm(mapped[0] - mapped[1], axis=1).max())


def atlas_rows(atlas: RegisteredSubject, subject: RegisteredSubject, seed: int) -> list[Row]:
    """The usual method, for comparison: the mask of another head, registered by SyN."""
    rows = []
    for modality in ("T1w", "T2w"):
        scanner_seed = seed_of(seed, subject.name, modality, "brain")
        scanner = typical_scanner("Siemens", modality, scanner_seed)
        case = scan_head(subject, f"{modality} Siemens", scanner, scanner_seed)
        atlas_scanner = typical_scanner("Siemens", "T1w", scanner_seed + 1)
        atlas_case = scan_head(atlas, "T1w", atlas_scanner, scanner_seed)
        start = time.perf_counter()
        mask = _registered_mask(downsampled(atlas_case), downsampled(case), case)
        seconds = time.perf_counter() - start
        rows.append(_mask_agreement(subject, case, "atlas", mask, seconds))
    return rows


def _registered_mask(atlas: Case, coarse: Case, case: Case) -> NDArray[np.bool_]:
    """The atlas's mask on a scan, by antspyx's SyN at 2 mm with mutual information."""
    ants: Any = load_ants()
    fixed, moving = (to_ants(image.data, image.affine) for image in (coarse, atlas))
    registration = ants.registration(fixed, moving, type_of_transform="SyN", random_seed=1)
    mask = ants.apply_transforms(
        to_ants(case.data, case.affine),
        to_ants(atlas.region.astype(np.float32), atlas.affine),
        registration["fwdtransforms"],
    )
    return np.asarray(mask.numpy() > 0.5)
