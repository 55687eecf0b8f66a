"""Simulated whole heads in many conditions and poses, with the true brain mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_ihf.geometry.grid import Grid, shifted_affine
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.random_scanners import random_scanner
from bids_ihf.lab.simulation.reference_segmentation import filled_brain_mask
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.lab.simulation.virtual_subject import VirtualSubject, register
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject

OFF_RANGE_SCANNER_COUNT = 2
"""Scanners far from the vendors' in each modality, and scans of a random contrast."""

FACE_DIRECTION = np.array([0.0, np.cos(0.5), -np.sin(0.5)])
FACE_DISTANCE_MM = 62.0
"""Defacing removes what is farther than this from the brain's centre, forwards and downwards."""

MAX_TILT_DEG, MAX_SHIFT_MM = 45.0, 60.0
"""Largest rotation about each axis, and largest shift, of a pose."""

EXCHANGED_FRACTION, CROPPED_FRACTION = 0.2, 0.35
"""Fractions of the poses with axes exchanged, and with a part of the brain cropped."""

MIN_CROPPED_BRAIN_MM = 45.0
"""Length of brain that is left along the axis that is cropped."""

SLAB_BELOW_MM, SLAB_ABOVE_MM = 10, 50
"""Extent of the upper half of a head from the centre of its brain."""


@frozen(eq=False)
class Case:
    """One scan of a head.

    Attributes
    ----------
    condition
        What the tables call it.
    data, region
        Scan and true brain mask, (X, Y, Z).
    affine
        Voxels to the subject's world, (4, 4).
    """

    condition: str
    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    region: NDArray[np.bool_]

    @property
    def grid(self) -> Grid:
        """Grid of the scan."""
        return Grid(self.data.shape, self.affine)


@frozen(eq=False)
class Pose:
    """A scan in another pose.

    Attributes
    ----------
    kind
        What the tables call it.
    data, affine
        The scan (X, Y, Z) and its affine (4, 4).
    motion
        How the head was moved from the upright pose, (4, 4).
    """

    kind: str
    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    motion: NDArray[np.float64]


def load_whole_head(path: Path, name: str, seed: int) -> RegisteredSubject:
    """The subject of a label map with the whole head."""
    subject_seed = seed_of(seed, name)
    anatomy = from_labels(path, seed=subject_seed)
    brain = filled_brain_mask(anatomy.brain.numpy(), anatomy.fraction("air", "bone") > 0.5)
    return register(VirtualSubject(name, anatomy, subject_seed, brain), path)


def conditions(subject: RegisteredSubject, seed: int) -> Iterator[Case]:
    """Every condition that a head is measured in.

    Vendors and off-range scanners in both contrasts, contrasts that no protocol gives, and what is
    done to heads before they are shared.
    """
    for modality in ("T1w", "T2w"):
        scanner_seed = seed_of(seed, subject.name, modality, "brain")
        for vendor in BUILTIN_VENDORS:
            scanner = typical_scanner(vendor, modality, scanner_seed)
            case = scan_head(subject, f"{modality} {vendor}", scanner, scanner_seed)
            yield case
            if (modality, vendor) == ("T1w", "Siemens"):
                yield from degraded(case)
            if (modality, vendor) == ("T2w", "GE"):
                yield echo_planar(subject, scanner, scanner_seed)
        for number in range(OFF_RANGE_SCANNER_COUNT):
            scanner = random_scanner(modality, scanner_seed + number)
            yield scan_head(subject, f"{modality} other", scanner, scanner_seed)
    for number in range(OFF_RANGE_SCANNER_COUNT):
        yield random_contrast(subject, seed_of(seed, subject.name, f"any {number}"))


def scan_head(subject: RegisteredSubject, condition: str, scanner: Scanner, seed: int) -> Case:
    """The head by a scanner without geometric distortion."""
    data = scan(subject.anatomy, attrs.evolve(scanner, distortion=0.0), seed)
    return Case(condition, data, subject.anatomy.affine, subject.brain)


def degraded(case: Case) -> Iterator[Case]:
    """The scan skull-stripped, defaced, in thick slices, and its upper half."""
    near_brain = ndimage.binary_dilation(case.region)
    yield attrs.evolve(case, condition="stripped", data=np.where(near_brain, case.data, 0))
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in case.data.shape), indexing="ij"), -1)
    centre = np.argwhere(case.region).mean(axis=0)
    face = ((voxels - centre) @ FACE_DIRECTION > FACE_DISTANCE_MM) & ~near_brain
    yield attrs.evolve(case, condition="defaced", data=np.where(face, np.float32(0), case.data))
    yield block_averaged(case, "4 mm slices", (1, 1, 4))
    slab = slice(int(centre[2]) - SLAB_BELOW_MM, int(centre[2]) + SLAB_ABOVE_MM)
    affine = shifted_affine(case.affine, (0, 0, slab.start))
    yield Case("upper half", case.data[..., slab], affine, case.region[..., slab])


def block_averaged(case: Case, condition: str, size: tuple[int, int, int]) -> Case:
    """The scan averaged over blocks of voxels."""
    counts = [n // length for n, length in zip(case.data.shape, size, strict=True)]
    box = tuple(slice(0, n * length) for n, length in zip(counts, size, strict=True))
    split = [extent for pair in zip(counts, size, strict=True) for extent in pair]

    def mean(data: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(data[box].reshape(split).mean(axis=(1, 3, 5)), dtype=np.float32)

    affine = shifted_affine(case.affine, (np.array(size) - 1) / 2) @ np.diag([*size, 1.0])
    return Case(condition, mean(case.data), affine, mean(case.region.astype(np.float32)) > 0.5)


def echo_planar(subject: RegisteredSubject, scanner: Scanner, seed: int) -> Case:
    """Like the b = 0 image of a diffusion series: blurred, noisy, without fat, 2 mm."""
    blurred = attrs.evolve(
        scanner, fat=0.05, noise=0.05, psf=(2.5, 3.0, 2.5), acceleration=(1.0, 2.0, 1.0)
    )
    return block_averaged(scan_head(subject, "b = 0", blurred, seed), "b = 0", (2, 2, 2))


def random_contrast(subject: RegisteredSubject, seed: int) -> Case:
    """The head with a random intensity for every tissue, and noise."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(0.1, 1.0, subject.anatomy.fractions.shape[0]).astype(np.float32)
    levels[0] = 0
    data = np.tensordot(levels, subject.anatomy.fractions.numpy(), axes=1)
    noise = 0.03 * rng.standard_normal((2, *data.shape), dtype=np.float32)
    magnitude = np.hypot(data + noise[0], noise[1])
    return Case("any contrast", magnitude, subject.anatomy.affine, subject.brain)


def downsampled(case: Case) -> Case:
    """A scan of 1 mm at 2 mm, so that many poses take little time."""
    return block_averaged(case, case.condition, (2, 2, 2))


def randomly_posed(case: Case, rng: np.random.Generator) -> Pose:
    """The scan tilted and shifted; some with axes exchanged, some with part of the brain cropped.

    Nothing is resampled: the header moves with the head.
    """
    motion = np.eye(4)
    rotation = Rotation.from_euler(
        "xyz", rng.uniform(-MAX_TILT_DEG, MAX_TILT_DEG, 3), degrees=True
    )
    label = "tilted"
    if rng.random() < EXCHANGED_FRACTION:
        label = "axes exchanged"
        rotation = Rotation.create_group("O")[int(rng.integers(1, 24))] * rotation
    motion[:3, :3] = rotation.as_matrix()
    motion[:3, 3] = rng.uniform(-MAX_SHIFT_MM, MAX_SHIFT_MM, 3)
    data, affine = case.data, case.affine
    if rng.random() < CROPPED_FRACTION:
        label = f"{label}, cut"
        data, affine = _randomly_cropped(case, rng)
    return Pose(label, data, motion @ affine, motion)


def _randomly_cropped(
    case: Case, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A slab across an axis with at least MIN_CROPPED_BRAIN_MM of brain, and its affine."""
    axis = int(rng.integers(3))
    brain = np.flatnonzero(case.region.any(axis=tuple(k for k in range(3) if k != axis)))
    min_length = round(MIN_CROPPED_BRAIN_MM / float(case.grid.zooms[axis]))
    first = int(rng.integers(brain[0], brain[-1] - min_length + 1))
    last = int(rng.integers(first + min_length, brain[-1] + 2))
    box = [slice(0, n) for n in case.data.shape]
    box[axis] = slice(first, last)
    return case.data[tuple(box)], shifted_affine(case.affine, [extent.start for extent in box])
