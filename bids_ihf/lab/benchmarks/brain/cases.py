"""Simulated whole heads in many conditions and poses, with the brain known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_ihf.geometry.grid import Grid, resample, shifted_affine
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.reference_segmentation import filled_brain_mask
from bids_ihf.lab.simulation.scanner import random_scanner, vendor_scanner
from bids_ihf.lab.simulation.virtual_subject import VirtualSubject, register
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject

OTHERS = 2
"""Scanners far from the vendors' that see a person in each modality."""

FACE = np.array([0.0, np.cos(0.5), -np.sin(0.5)])
FACE_MM = 62.0
"""Defacing takes what lies so far in front of and below the brain's middle."""

TILT, SHIFT_MM = 45.0, 60.0
"""Largest rotation about each axis (degrees), and shift, of a pose."""

EXCHANGED, CROPPED = 0.2, 0.35
"""Share of the poses with axes exchanged, and of those with a part of the brain cut off."""

LEAST_MM = 45.0
"""What is at least left of the brain along the axis it is cut across."""


@frozen(eq=False)
class Case:
    """One scan (X, Y, Z) with its true brain mask; ``affine`` (4, 4) to the person's world."""

    condition: str
    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    region: NDArray[np.bool_]


@frozen(eq=False)
class Pose:
    """A scan in another pose: header ``affine``, and how it was made from the upright one."""

    kind: str
    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    moved: NDArray[np.float64]


def load_whole_head(path: Path, name: str, seed: int) -> RegisteredSubject:
    """The subject of a label map with the whole head."""
    subject_seed = seed_of(seed, name)
    anatomy = from_labels(path, seed=subject_seed)
    brain = filled_brain_mask(anatomy.brain.numpy(), anatomy.fraction("air", "bone") > 0.5)
    return register(VirtualSubject(name, anatomy, subject_seed, brain), path)


def conditions(subject: RegisteredSubject, person: str, seed: int) -> Iterator[Case]:
    """Every condition a head is tried in: vendors and other scanners in both contrasts, a
    contrast that no protocol gives, and what is done to heads before they are shared."""
    for modality in ("T1w", "T2w"):
        own = seed_of(seed, person, modality, "brain")
        for vendor in BUILTIN_VENDORS:
            scanner = vendor_scanner(vendor, modality, own)
            case = scanned(subject, f"{modality} {vendor}", scanner, own)
            yield case
            if (modality, vendor) == ("T1w", "Siemens"):
                yield from altered(case)
            if (modality, vendor) == ("T2w", "GE"):
                yield echo_planar(subject, scanner, own)
        for number in range(OTHERS):
            scanner = random_scanner(modality, own + number)
            yield scanned(subject, f"{modality} other", scanner, own)
    for number in range(OTHERS):
        yield any_contrast(subject, seed_of(seed, person, f"any {number}"))


def scanned(subject: RegisteredSubject, condition: str, scanner: Scanner, seed: int) -> Case:
    """The head by a scanner that leaves edges where they are."""
    data = scan(subject.anatomy, attrs.evolve(scanner, distortion=0.0), seed)
    return Case(condition, data, subject.anatomy.affine, subject.brain)


def altered(case: Case) -> Iterator[Case]:
    """Stripped, defaced, in thick slices, and only a part of it."""
    near = ndimage.binary_dilation(case.region)
    yield attrs.evolve(case, condition="stripped", data=np.where(near, case.data, 0))
    places = np.stack(np.meshgrid(*(np.arange(n) for n in case.data.shape), indexing="ij"), -1)
    ahead = (places - np.argwhere(case.region).mean(axis=0)) @ FACE
    gone = (ahead > FACE_MM) & ~near
    yield attrs.evolve(case, condition="defaced", data=np.where(gone, np.float32(0), case.data))
    yield in_blocks(case, "4 mm slices", (1, 1, 4))
    middle = int(np.argwhere(case.region)[:, 2].mean())
    slab = slice(middle - 10, middle + 50)
    affine = shifted_affine(case.affine, (0, 0, slab.start))
    yield Case("upper half", case.data[..., slab], affine, case.region[..., slab])


def in_blocks(case: Case, condition: str, size: tuple[int, int, int]) -> Case:
    """Averaged over blocks of voxels."""
    shape = [n // by for n, by in zip(case.data.shape, size, strict=True)]
    cut = tuple(slice(0, n * by) for n, by in zip(shape, size, strict=True))
    sides = [side for n, by in zip(shape, size, strict=True) for side in (n, by)]

    def mean(data: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(data[cut].reshape(sides).mean(axis=(1, 3, 5)), dtype=np.float32)

    affine = case.affine @ np.diag([*size, 1.0])
    affine[:3, 3] += case.affine[:3, :3] @ (np.array(size) - 1) / 2
    return Case(condition, mean(case.data), affine, mean(case.region.astype(np.float32)) > 0.5)


def echo_planar(subject: RegisteredSubject, scanner: Scanner, seed: int) -> Case:
    """Like the b = 0 image of a diffusion series: blurred, noisy, without fat, 2 mm."""
    blurred = attrs.evolve(scanner, fat=0.05, noise=0.05, psf=(2.5, 3.0, 2.5), acceleration=2.0)
    return in_blocks(scanned(subject, "b = 0", blurred, seed), "b = 0", (2, 2, 2))


def any_contrast(subject: RegisteredSubject, seed: int) -> Case:
    """Every tissue of an intensity of its own, with blur and noise."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(0.1, 1.0, subject.anatomy.fractions.shape[0]).astype(np.float32)
    levels[0] = 0
    data = np.tensordot(levels, subject.anatomy.fractions.numpy(), axes=1)
    noise = 0.03 * rng.standard_normal((2, *data.shape), dtype=np.float32)
    seen = np.hypot(data + noise[0], noise[1])
    return Case("any contrast", seen, subject.anatomy.affine, subject.brain)


def upright(case: Case, zoom: float = 2.0) -> Case:
    """A scan of 1 mm at ``zoom`` mm, for poses: many of them in little time."""
    by = round(zoom)
    return in_blocks(case, case.condition, (by, by, by))


def posed(case: Case, rng: np.random.Generator) -> Pose:
    """The scan tilted, shifted, at times with axes exchanged or a part of the brain cut off.

    The voxels stay what they are but for the cut; header and head move together.
    """
    moved = np.eye(4)
    turn = Rotation.from_euler("xyz", rng.uniform(-TILT, TILT, 3), degrees=True)
    kind = "tilted"
    if rng.random() < EXCHANGED:
        kind = "axes exchanged"
        turn = Rotation.create_group("O")[int(rng.integers(1, 24))] * turn
    moved[:3, :3] = turn.as_matrix()
    moved[:3, 3] = rng.uniform(-SHIFT_MM, SHIFT_MM, 3)
    data, affine = case.data, case.affine
    if rng.random() < CROPPED:
        kind = f"{kind}, cut"
        data, affine = _cut(case, rng)
    return Pose(kind, data, moved @ affine, moved)


def _cut(case: Case, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A slab across an axis with at least LEAST_MM of brain."""
    axis = int(rng.integers(3))
    others = tuple(k for k in range(3) if k != axis)
    filled = np.flatnonzero(case.region.any(axis=others))
    zoom = float(Grid(case.region.shape, case.affine).zooms[axis])
    least = round(LEAST_MM / zoom)
    first = int(rng.integers(filled[0], filled[-1] - least + 1))
    last = int(rng.integers(first + least, filled[-1] + 2))
    part = [slice(None)] * 3
    part[axis] = slice(first, last)
    affine = case.affine.copy()
    affine[:3, 3] += affine[:3, axis] * first
    return case.data[tuple(part)], affine


def true_shares(subject: RegisteredSubject, grid: Grid) -> NDArray[np.float32]:
    """Shares (3, X, Y, Z) of grey matter, white matter and fluid on a grid of the same world."""
    found = subject.segmentation
    return np.stack([resample(share, found.grid, grid) for share in found.tissue_fractions[1:]])
