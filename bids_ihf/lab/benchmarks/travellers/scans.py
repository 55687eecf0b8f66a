"""Scans of traveling subjects: found in a BIDS dataset, on one grid for each modality."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen

from bids_ihf.bids.discovery import find_images, select_subjects
from bids_ihf.errors import BadData, NothingSelected
from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.preprocessing.prepare import prepare
from bids_ihf.targets.network_input import NETWORK_VOXEL_MM, measure_profile, to_network_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.bids.images import SourceImage
    from bids_ihf.bids.names import Modality
    from bids_ihf.network.encoder import Encoder
    from bids_ihf.targets.network_input import NetworkInput
    from bids_ihf.targets.profile import Profile

SCANNER_ENTITIES = ("acq", "ses")
"""Entities that name the scanner; the first that an image has counts."""

MIN_SUBJECTS = 2
"""Subjects that a target scanner needs beside the one that is harmonized."""

SLICE_SPACING_MM = 12
"""Distance of the slices that are measured, from the middle of what two scans have in common."""


@frozen(eq=False)
class TravelScan:
    """A subject's scan by one scanner, on the grid of all scans of its modality."""

    subject: str
    scanner: str
    modality: Modality
    on_grid: NetworkInput
    profile: Profile


@frozen(eq=False)
class Travel:
    """One subject from one scanner to another, as other subjects show both.

    Attributes
    ----------
    source, truth
        Scans of the subject.
    others
        Scans of the other subjects by the target's scanner.
    pairs
        Of those who were on both scanners, the scans by the source's and the target's.
    """

    source: TravelScan
    truth: TravelScan
    others: tuple[TravelScan, ...]
    pairs: tuple[tuple[TravelScan, TravelScan], ...]

    @property
    def slices(self) -> NDArray[np.intp]:
        """Indices of the slices that are measured."""
        return common_slices(self.source.on_grid, self.truth.on_grid)


def scanner_of(image: SourceImage) -> str | None:
    """Label of the scanner; None where the name of the image has neither entity."""
    labels = (image.name.get(entity) for entity in SCANNER_ENTITIES)
    return next((label for label in labels if label), None)


def find_travel_images(folder: Path, modality: Modality) -> dict[tuple[str, str], Path]:
    """The image of each subject and scanner.

    Raises
    ------
    BadData
        A subject has two images by one scanner.
    """
    paths: dict[tuple[str, str], Path] = {}
    for subject in select_subjects(folder):
        for image in find_images(folder, subject, modalities=(modality,)):
            scanner = scanner_of(image)
            if scanner is None:
                continue
            if (subject, scanner) in paths:
                raise BadData(
                    f"{image.path}: the second {modality} image of this subject by scanner "
                    f"{scanner}; keep one."
                )
            paths[subject, scanner] = image.path
    return paths


def read_scans(folder: Path, modality: Modality, encoder: Encoder) -> list[TravelScan]:
    """All scans of a modality, which must be bias-corrected, stripped and in template space.

    Raises
    ------
    BadData
        An image cannot be used.
    """
    inputs = {}
    for key, path in find_travel_images(folder, modality).items():
        try:
            prepared = prepare(path, modality=modality, preprocessed=True)
            inputs[key] = to_network_input(prepared, modality)
        except ValueError as error:
            raise BadData(f"{path}: {error}; check the image.") from error
    if not inputs:
        return []
    grid = enclosing_grid([on_grid.grid for on_grid in inputs.values()])
    scans = []
    for (subject, scanner), on_grid in inputs.items():
        moved = move_to_grid(on_grid, grid)
        profile = measure_profile(moved, encoder)
        scans.append(TravelScan(subject, scanner, modality, moved, profile))
    return scans


def enclosing_grid(grids: Sequence[Grid]) -> Grid:
    """The grid on the voxels of the first that encloses all; all are 1 mm and axis-aligned."""
    first = grids[0].affine[:3, 3]
    low = np.min([grid.affine[:3, 3] for grid in grids], axis=0)
    high = np.max([grid.affine[:3, 3] + np.array(grid.shape) - 1 for grid in grids], axis=0)
    low = first + np.floor((low - first) / NETWORK_VOXEL_MM) * NETWORK_VOXEL_MM
    affine = np.diag([NETWORK_VOXEL_MM] * 3 + [1.0])
    affine[:3, 3] = low
    return Grid(np.ceil((high - low) / NETWORK_VOXEL_MM).astype(int) + 1, affine)


def move_to_grid(on_grid: NetworkInput, grid: Grid) -> NetworkInput:
    """A scan on another grid; voxels are copied where the two coincide."""
    data, mask = (resample(array, on_grid.grid, grid) for array in (on_grid.data, on_grid.mask))
    tissues = on_grid.tissues
    if tissues is not None:
        tissues = np.stack([resample(tissue, on_grid.grid, grid) for tissue in tissues])
    return attrs.evolve(on_grid, data=data, mask=mask, grid=grid, tissues=tissues)


def common_slices(first: NetworkInput, second: NetworkInput) -> NDArray[np.intp]:
    """Slices with brain in both scans, every SLICE_SPACING_MM from the middle, but not the
    outermost, which have no neighbour."""
    common = np.intersect1d(first.brain_slices, second.brain_slices)
    inner = common[1:-1] if len(common) > 2 else common
    return inner[(np.arange(len(inner)) - len(inner) // 2) % SLICE_SPACING_MM == 0]


def travels_of(scans: Sequence[TravelScan]) -> Iterator[Travel]:
    """Every subject from each scanner to each other one that enough other subjects show.

    Raises
    ------
    NothingSelected
        There is none.
    """
    by_key = {(scan.subject, scan.scanner): scan for scan in scans}
    subjects = sorted({scan.subject for scan in scans})
    scanners = sorted({scan.scanner for scan in scans})
    found = False
    for subject in subjects:
        rest = [name for name in subjects if name != subject]
        for source, target in permutations(scanners, 2):
            others = tuple(by_key[name, target] for name in rest if (name, target) in by_key)
            pairs = tuple(
                (by_key[name, source], by_key[name, target])
                for name in rest
                if (name, source) in by_key and (name, target) in by_key
            )
            both = (subject, source) in by_key and (subject, target) in by_key
            if not both or len(pairs) < MIN_SUBJECTS:
                continue
            travel = Travel(by_key[subject, source], by_key[subject, target], others, pairs)
            if travel.slices.size:
                found = True
                yield travel
    if not found:
        raise NothingSelected(
            f"No scan can be brought from one scanner to another: {MIN_SUBJECTS + 1} subjects are "
            "needed that were on both, the scanner told by the entity acq or ses."
        )
