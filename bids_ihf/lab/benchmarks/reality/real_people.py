"""Real T1w scans, made into anatomies and scanned again: how like the original are they?

Beside the anatomy of `real_anatomy.from_scan` stand its tissue fractions with a random texture,
and what a label map of the same person would give: 2 mm tissue fractions with a random texture.
All are scanned by the typical scanner of a vendor.

Usage: python -m bids_ihf.lab.benchmarks.reality.real_people OUT_DIR T1W.nii.gz [...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import evolve
from scipy import ndimage

from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.process_pool import start_worker
from bids_ihf.lab.benchmarks.reality.measured_slices import slices_of_volume
from bids_ihf.lab.benchmarks.reality.measures import MEASURES, measure_scan
from bids_ihf.lab.benchmarks.reality.simulated_scans import N4_VOXEL_MM
from bids_ihf.lab.benchmarks.tables import Column, Table
from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.anatomy import Anatomy, standardized_texture
from bids_ihf.lab.simulation.real_anatomy import from_scan
from bids_ihf.lab.simulation.tissues import TISSUE_INDEX
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from bids_ihf.preprocessing.bias_field import bias_field
from bids_ihf.preprocessing.prepare import prepare
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.preprocessing.prepare import Prepared

VENDOR, SEED = "Siemens", 1

DETAIL_SIGMA_MM = 4.0
"""Detail is what varies faster than a Gaussian of this width, mm."""

MIN_WHITE_FRACTION = 0.9
"""2 mm fraction of the white matter in which detail is compared."""

REAL_SCAN = "real scan"
REAL_ANATOMY = "real anatomy"
RANDOM_TEXTURE = "its fractions, random texture"
COARSE_FRACTIONS = "2 mm fractions, random texture"

PEOPLE_COLUMNS = {
    "scan": Column("File of the real T1w"),
    "image": Column("The real scan, or what was scanned again", levels={
        REAL_SCAN: "The real scan, after N4",
        REAL_ANATOMY: "The anatomy made of it",
        RANDOM_TEXTURE: "The same with a random texture",
        COARSE_FRACTIONS: "As of a label map: 2 mm fractions and a random texture"}),
    "correlation": Column("Correlation with the real scan in the brain, after N4"),
    "detail_brain": Column("The same of detail: what varies within 4 mm"),
    "detail_white": Column("The same of detail in white matter"),
    **MEASURES,
}  # fmt: skip


def anatomies(prepared: Prepared) -> dict[str, Anatomy]:
    """A person as an anatomy of three kinds, on one grid."""
    real = from_scan(prepared, typical_scanner(VENDOR, "T1w", SEED).protocol)
    texture = smooth_fields.random_texture(real.shape, real.zooms, SEED)
    random = evolve(real, texture=standardized_texture(texture, real.brain))
    segmentation, grid = prepared.segment(), Grid(real.shape, real.affine)
    fractions = torch.zeros_like(real.fractions)
    inside = 1 - real.fractions[TISSUE_INDEX["air"]].numpy()
    for name, coarse in zip(
        ("grey", "white", "csf"), segmentation.tissue_fractions[1:], strict=True
    ):
        fine = np.clip(resample(coarse, segmentation.grid, grid), 0, 1) * inside
        fractions[TISSUE_INDEX[name]] = torch.from_numpy(fine.astype(np.float32))
    fractions[TISSUE_INDEX["air"]] = (1 - fractions.sum(dim=0)).clamp_(min=0)
    return {
        REAL_ANATOMY: real,
        RANDOM_TEXTURE: random,
        COARSE_FRACTIONS: evolve(random, fractions=fractions),
    }


def rescan_rows(prepared: Prepared, name: str) -> list[Row]:
    """The real scan and the anatomies scanned again."""
    people = anatomies(prepared)
    grid = Grid(people[REAL_ANATOMY].shape, people[REAL_ANATOMY].affine)
    original, field, mask = (
        resample(volume.astype(np.float32), prepared.grid, grid)
        for volume in (prepared.volume.data, prepared.bias, prepared.mask)
    )
    inside, segmentation = mask > 0.5, prepared.segment()
    white = resample(segmentation.tissue_fractions[2], segmentation.grid, grid)
    regions = (ndimage.binary_erosion(inside, iterations=2), white > MIN_WHITE_FRACTION)
    corrected = original / np.maximum(field, 1e-3)
    slices = slices_of_volume(original, field, inside, segmentation, grid.affine, "T1w")
    rows: list[Row] = [{"scan": name, "image": REAL_SCAN, **measure_scan(slices)}]
    scanner = typical_scanner(VENDOR, "T1w", SEED)
    for kind, anatomy in people.items():
        image = scan(anatomy, scanner, SEED)
        bias = bias_field(image, grid.affine, inside, shrink=N4_VOXEL_MM)
        slices = slices_of_volume(image, bias, inside, segmentation, grid.affine, "T1w")
        similar = _resemblance(image / bias, corrected, regions, grid)
        rows.append({"scan": name, "image": kind, **similar, **measure_scan(slices)})
    return rows


def _resemblance(
    image: NDArray[np.float32],
    original: NDArray[np.float32],
    regions: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    grid: Grid,
) -> dict[str, float]:
    brain, white = regions
    details = [
        data - ndimage.gaussian_filter(data, DETAIL_SIGMA_MM / grid.zooms)
        for data in (image, original)
    ]
    return {
        "correlation": _correlation(image, original, brain),
        "detail_brain": _correlation(details[0], details[1], brain),
        "detail_white": _correlation(details[0], details[1], white),
    }


def _correlation(
    first: NDArray[np.float32], second: NDArray[np.float32], region: NDArray[np.bool_]
) -> float:
    return float(np.corrcoef(first[region], second[region])[0, 1])


def main() -> None:
    """Measure the images that the command line names, and write the table."""
    folder, *paths = (Path(argument) for argument in sys.argv[1:])
    start_worker()
    rows: list[Row] = []
    for path in paths:
        rows += rescan_rows(prepare(path, modality="T1w"), path.name)
    facts = {"Command": "python -m bids_ihf.lab.benchmarks.reality.real_people OUT_DIR T1W",
             "Vendor": VENDOR, "Seed": SEED, "Version": __version__}  # fmt: skip
    table = Table(rows, PEOPLE_COLUMNS)
    for name, content in table.files("real_people", {"Benchmark": facts}).items():
        write_atomic(folder / name, content)


if __name__ == "__main__":
    main()
