"""``ihf benchmark --brain``: brain mask, tissue map and alignment on heads never trained on."""

from __future__ import annotations

import logging
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.geometry.grid import Grid, inverse_affine
from bids_ihf.lab.benchmarks.brain.cases import (
    conditions,
    load_whole_head,
    posed,
    scanned,
    true_shares,
    upright,
)
from bids_ihf.lab.benchmarks.brain.tables import brain_files, by_condition
from bids_ihf.lab.benchmarks.metrics.overlap import dice, surface_distance
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.preprocessing.prepare import MIN_SIMILARITY_ACCEPTED, alignment_warning
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.brain.cases import Case, Pose
    from bids_ihf.lab.benchmarks.table import Row
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject

LOGGER = logging.getLogger(__name__)

RADIUS, MIDDLE = 70.0, (0.0, -18.0, 10.0)
"""Sphere (mm, template space) on which two ways to the template are compared."""

ASTRAY = 10.0
"""Distance (mm) of two ways from which on one is wrong."""


def measure_heads(
    labels: Path, people: Sequence[str], *, poses: int, seed: int, jobs: int
) -> tuple[list[Row], list[Row]]:
    """Rows by person and condition, and by pose, ``jobs`` people at a time."""
    set_up_process(1, 0)  # for the processes, which inherit the environment
    each = poses // len(people)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        work = pool.map(_measure_person, repeat(labels), people, repeat(each), repeat(seed))
        masks: list[Row] = []
        ways: list[Row] = []
        for person, (found, turned) in zip(people, work, strict=True):
            masks += found
            ways += turned
            LOGGER.info("Measured %s", person)
    return masks, ways


def write_brain_results(
    folder: Path, labels: Path, people: Sequence[str], *, poses: int, seed: int, jobs: int
) -> list[Row]:
    """Measure, write the tables, and return the rows by condition.

    Raises
    ------
    CannotWrite
        A file cannot be written.
    """
    from bids_ihf.io.atomic import write_atomic
    from bids_ihf.network.checkpoint import segmenter_hash

    masks, ways = measure_heads(labels, people, poses=poses, seed=seed, jobs=jobs)
    words = ["ihf benchmark LABELS_DIR -o OUT_DIR --brain --people", *people]
    about = {
        "Command": " ".join([*words, f"--poses {poses} --seed {seed}"]),
        "People": list(people),
        "Seed": seed,
        "Version": __version__,
        "Hashes": {"brain": segmenter_hash()},
    }
    for name, content in brain_files(masks, ways, about).items():
        write_atomic(folder / name, content)
    return by_condition(masks)


def _measure_person(
    labels: Path, person: str, poses: int, seed: int
) -> tuple[list[Row], list[Row]]:
    import torch

    torch.set_num_threads(1)
    subject = load_whole_head(labels / f"{person}_dseg.nii.gz", person, seed)
    masks = [mask_row(subject, person, case) for case in conditions(subject, person, seed)]
    masks += atlas_rows(labels, subject, person, seed)
    return masks, list(pose_rows(subject, person, poses, seed))


def mask_row(subject: RegisteredSubject, person: str, case: Case) -> Row:
    """Agreement of mask and tissues with the truth, the time they took, and the alignment's
    error."""
    from bids_ihf.preprocessing.alignment import align_to_template
    from bids_ihf.preprocessing.segmentation import segment

    native = _grid(case)
    start = time.perf_counter()
    found = segment(case.data, case.affine)
    mask = found.brain_on(native)
    middle = time.perf_counter()
    way = align_to_template(found)
    end = time.perf_counter()
    row = _agreement(person, case, "ours", mask, middle - start)
    truth = true_shares(subject, found.grid)
    truth *= found.field_of_view
    names = ("grey", "white", "csf")
    row |= {
        f"dice_{name}": dice(ours, theirs)
        for name, ours, theirs in zip(names, found.tissue_fractions[1:], truth, strict=True)
    }
    return row | {
        "align_s": end - middle,
        "similarity": way.similarity,
        "error_mm": distance(way.matrix, subject.to_template),
    }


def _agreement(
    person: str, case: Case, method: str, mask: NDArray[np.bool_], seconds: float
) -> Row:
    return {
        "subject": person,
        "condition": case.condition,
        "method": method,
        "dice": dice(mask, case.region),
        "hd95_mm": surface_distance(mask, case.region, _grid(case).zooms),
        "mask_s": seconds,
    }


def pose_rows(subject: RegisteredSubject, person: str, count: int, seed: int) -> Iterable[Row]:
    """What becomes of a head in ``count`` random poses."""
    from bids_ihf.lab.simulation.scanner import random_scanner

    rng = np.random.default_rng(seed_of(seed, person, "poses"))
    scans = []
    for modality in ("T1w", "T2w"):
        own = seed_of(seed, person, modality, "poses")
        scanner = random_scanner(modality, own)
        scans.append(upright(scanned(subject, modality, scanner, own)))
    for number in range(count):
        case = scans[number % len(scans)]
        yield pose_row(subject, person, case.condition, posed(case, rng))


def pose_row(subject: RegisteredSubject, person: str, modality: str, pose: Pose) -> Row:
    """Whether a pose was found, and if not, whether it was noticed."""
    from bids_ihf.preprocessing.alignment import align_to_template
    from bids_ihf.preprocessing.segmentation import segment

    start = time.perf_counter()
    found = segment(pose.data, pose.affine)
    error, similarity, coverage = float("nan"), 0.0, 0.0
    if found.brain.any():
        way = align_to_template(found)
        error = distance(way.matrix, subject.to_template @ inverse_affine(pose.moved))
        similarity, coverage = way.similarity, way.coverage
    return {
        "subject": person,
        "modality": modality,
        "pose": pose.kind,
        "similarity": similarity,
        "coverage": coverage,
        "error_mm": error,
        "outcome": outcome(similarity, coverage, error),
        "seconds": time.perf_counter() - start,
    }


def outcome(similarity: float, coverage: float, error: float) -> str:
    """``found``, ``doubted`` (right, with a warning), ``warned`` or ``refused`` (wrong, and
    noticed), ``refused needlessly``, or ``silent`` (wrong and not noticed)."""
    right = error < ASTRAY
    if similarity < MIN_SIMILARITY_ACCEPTED:
        return "refused needlessly" if right else "refused"
    if alignment_warning(similarity, coverage):
        return "doubted" if right else "warned"
    return "found" if right else "silent"


def distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Largest distance (mm) at which two ways put a point of the head's sphere."""
    points = np.random.default_rng(0).normal(size=(200, 3))
    points = RADIUS * points / np.linalg.norm(points, axis=1)[:, None] + np.array(MIDDLE)
    back = inverse_affine(second)
    points = points @ back[:3, :3].T + back[:3, 3]
    ends = [points @ way[:3, :3].T + way[:3, 3] for way in (first, second)]
    return float(np.linalg.norm(ends[0] - ends[1], axis=1).max())


def atlas_rows(labels: Path, subject: RegisteredSubject, person: str, seed: int) -> list[Row]:
    """The usual way, for comparison: the mask of another person's head, laid over by SyN."""
    from bids_ihf.lab.simulation.scanner import vendor_scanner

    name = "head-01"
    atlas = load_whole_head(labels / f"{name}_dseg.nii.gz", name, seed)
    rows = []
    for modality in ("T1w", "T2w"):
        own = seed_of(seed, person, modality, "brain")
        scanner = vendor_scanner("Siemens", modality, own)
        case = scanned(subject, f"{modality} Siemens", scanner, own)
        model = scanned(atlas, "T1w", vendor_scanner("Siemens", "T1w", own + 1), own)
        start = time.perf_counter()
        mask = _laid_over(upright(model), upright(case), case)
        rows.append(_agreement(person, case, "atlas", mask, time.perf_counter() - start))
    return rows


def _laid_over(model: Case, coarse: Case, case: Case) -> NDArray[np.bool_]:
    """The atlas's mask on a scan: antspyx's SyN at 2 mm, after an affine map, with mutual
    information."""
    from bids_ihf.preprocessing.itk import load_ants, to_ants

    ants: Any = load_ants()
    fixed, moving = (to_ants(each.data, each.affine) for each in (coarse, model))
    found = ants.registration(fixed, moving, type_of_transform="SyN", random_seed=1)
    mask = ants.apply_transforms(
        to_ants(case.data, case.affine),
        to_ants(model.region.astype(np.float32), model.affine),
        found["fwdtransforms"],
    )
    return np.asarray(mask.numpy() > 0.5)


def _grid(case: Case) -> Grid:
    return Grid(case.data.shape, case.affine)
