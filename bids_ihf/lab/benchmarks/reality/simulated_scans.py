"""Simulated scans in the voxel classes of the real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen
from scipy import ndimage

from bids_ihf.geometry.grid import Grid, canonical_grid, resample
from bids_ihf.lab.benchmarks.reality.measured_slices import single_slice, slices_of_volume
from bids_ihf.lab.benchmarks.reality.measures import measure_scan
from bids_ihf.lab.benchmarks.virtual_subjects import CSF_MARGIN_VOXELS, seed_of
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.anatomy import crop_to_brain
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.random_scanners import random_scanner
from bids_ihf.lab.simulation.reference_segmentation import (
    reference_brain_mask,
    reference_segmentation,
)
from bids_ihf.lab.simulation.vendor_scanners import vendor_scanner
from bids_ihf.preprocessing import morphology
from bids_ihf.preprocessing.bias_field import bias_field
from bids_ihf.preprocessing.brain_mask import has_signal
from bids_ihf.preprocessing.segmentation import antialias
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.benchmarks.reality.measured_slices import MeasuredSlices, VoxelClass
    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.preprocessing.segmentation import Segmentation

COARSE_MM, THICK_MM = 2, 5
"""Voxel size of the 2 mm class and slice thickness of the thick one, mm."""

N4_VOXEL_MM = 8
"""Voxel size of N4's grid, mm: coarser than the product's, to save time with hundreds of scans; on
one of 4 mm the field differs by less than is measured here and takes six times as long."""

MIN_FIELD = 1e-3
"""Least bias field, where resampling leaves the grid."""

SLICE_HEIGHT = (0.35, 0.6)
"""Part of the measured slices, from the lowest, in which a single slice lies: the ventricles."""


@frozen(eq=False)
class ScannedAnatomy:
    """An anatomy on the grid on which it is scanned, its brain mask and its true tissues."""

    anatomy: Anatomy
    brain: NDArray[np.bool_]
    segmentation: Segmentation

    @property
    def grid(self) -> Grid:
        """The anatomy's grid."""
        return Grid(self.anatomy.shape, self.anatomy.affine)

    def showing(self, image: NDArray[np.float32]) -> ScannedAnatomy:
        """With the brain that is left in an image: its file may have been stripped."""
        signal = np.asarray(ndimage.binary_fill_holes(has_signal(image)))
        return evolve(self, brain=morphology.largest_component(self.brain & signal))


def simulated_rows(
    labels: Path, modality: Modality, classes: Sequence[VoxelClass], numbers: range, seed: int
) -> list[Row]:
    """Rows of scans of one subject, one for each number and voxel class.

    Half the scanners are vendors' in turn, half random.
    """
    name = labels.name.split("_")[0]
    fine = crop_to_brain(from_labels(labels, seed=seed_of(seed, name)))
    subject = _scanned(fine)
    thick = _scanned(fine.averaged((1, 1, THICK_MM))) if "thick" in classes else None
    rows: list[Row] = []
    for number in numbers:
        scanner_seed = seed_of(seed, name, modality, str(number))
        dataset, scanner = _scanner(modality, number, scanner_seed)
        facts = {"scan": f"{name} {number}", "source": "simulated", "dataset": dataset}
        rows += (
            {**facts, "contrast": modality, "voxels": slices.voxel_class, **measure_scan(slices)}
            for slices in _in_classes(subject, thick, scanner, modality, classes, scanner_seed)
        )
    return rows


def _scanned(anatomy: Anatomy) -> ScannedAnatomy:
    brain = morphology.largest_component(reference_brain_mask(anatomy, CSF_MARGIN_VOXELS))
    return ScannedAnatomy(anatomy, brain, reference_segmentation(anatomy, brain))


def _scanner(modality: Modality, number: int, seed: int) -> tuple[str, Scanner]:
    if number % 2:
        return "random", random_scanner(modality, seed)
    vendor = BUILTIN_VENDORS[number // 2 % len(BUILTIN_VENDORS)]
    return vendor, vendor_scanner(vendor, modality, seed)


def _in_classes(
    subject: ScannedAnatomy,
    thick: ScannedAnatomy | None,
    scanner: Scanner,
    modality: Modality,
    classes: Sequence[VoxelClass],
    seed: int,
) -> Iterator[MeasuredSlices]:
    """One scan in each class: a slice and the 2 mm volume are made of the 1 mm one."""
    image = scan(subject.anatomy, scanner, seed)
    subject = subject.showing(image)
    field = bias_field(image, subject.anatomy.affine, subject.brain, shrink=N4_VOXEL_MM)
    fine = _slices(subject, image, field, modality)
    if "1 mm" in classes:
        yield fine
    if "slice" in classes:
        # FLAIR cannot tell grey from white matter; in real slices the T1w of the session does.
        yield single_slice(fine, _ventricle_index(fine, seed), keep_prior=modality == "FLAIR")
    if "2 mm" in classes:
        yield _coarse(subject, image, field, modality, smooth=seed % 2 == 0)
    if thick is not None:
        thick_field = resample(field, subject.grid, thick.grid)
        thick_image = scan(thick.anatomy, scanner, seed)
        thick_field = np.maximum(thick_field, MIN_FIELD)
        yield _slices(thick.showing(thick_image), thick_image, thick_field, modality)


def _slices(
    subject: ScannedAnatomy,
    image: NDArray[np.float32],
    field: NDArray[np.float32],
    modality: Modality,
) -> MeasuredSlices:
    affine = subject.anatomy.affine
    return slices_of_volume(image, field, subject.brain, subject.segmentation, affine, modality)


def _coarse(
    subject: ScannedAnatomy,
    image: NDArray[np.float32],
    field: NDArray[np.float32],
    modality: Modality,
    *,
    smooth: bool,
) -> MeasuredSlices:
    """A scan resampled to 2 mm, as the real ones of that class were, smoothed for it or not."""
    native = subject.grid
    grid = canonical_grid(native.shape, native.affine, zoom=float(COARSE_MM))
    fine = antialias(image, native, COARSE_MM) if smooth else image
    coarse = resample(fine, native, grid)
    brain = resample(subject.brain.astype(np.float32), native, grid) > 0.5
    coarse_field = np.maximum(resample(field, native, grid), MIN_FIELD)
    return slices_of_volume(
        coarse, coarse_field, brain, subject.segmentation, grid.affine, modality
    )


def _ventricle_index(fine: MeasuredSlices, seed: int) -> int:
    fraction = np.random.default_rng(seed).uniform(*SLICE_HEIGHT)
    return round(fraction * (fine.raw.shape[2] - 1))
