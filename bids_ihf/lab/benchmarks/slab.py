"""T1w targets known from a few slices of one scan, as a NIfTI reference gives them.

Two off-range scanners and one vendor's take turns as source and target, on subjects not used in
training; no vendor is known, and no vendor's target is used.  The reference is a slab of a scan by
the target, either of the same subject, below the slices that are measured, or of another subject.

Usage: python -m bids_ihf.lab.benchmarks.slab LABELS_DIR OUT_DIR [SUBJECT ...]
"""

from __future__ import annotations

import argparse
import sys
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from bids_ihf.geometry.grid import Grid
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.process_pool import run_tasks, worker_pool
from bids_ihf.lab.benchmarks.tables import Column, Table, group_rows
from bids_ihf.lab.benchmarks.vendors.methods import (
    CURVE_ONLY,
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
    METHOD_DESCRIPTIONS,
    NO_HARMONIZATION,
    run_networks,
)
from bids_ihf.lab.benchmarks.vendors.metrics import image_metrics
from bids_ihf.lab.benchmarks.vendors.plan import (
    REFERENCE_SUBJECTS,
    TEST_SUBJECTS,
    check_subjects,
    label_map,
)
from bids_ihf.lab.benchmarks.vendors.results import METRIC_CONVENTION
from bids_ihf.lab.benchmarks.vendors.tables import SUBJECT_COLUMNS as VENDOR_SUBJECT_COLUMNS
from bids_ihf.lab.benchmarks.virtual_subjects import (
    OFF_RANGE_SCANNERS,
    load_test_subject,
    off_range_scanners,
    seed_of,
    select_slices,
    vendor_scanners,
)
from bids_ihf.lab.comparators import histogram_matching
from bids_ihf.lab.comparators.interface import MaskedImage
from bids_ihf.lab.simulation.virtual_subject import scan_subject
from bids_ihf.network.checkpoint import load_model
from bids_ihf.targets.intensity import robust_scale
from bids_ihf.targets.network_input import NetworkInput, measure_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices

SLAB_MODALITY: Modality = "T1w"
BENCHMARK_SEED = 1
SLAB_VENDOR = "GE"
"""Vendor of the third scanner."""

SLAB_MM = (-10.0, 50.0)
"""Axial template coordinates of the source scan, and of another subject's reference."""

REFERENCE_BELOW_MM = (-10.0, 26.0)
"""Those of the same subject's reference."""

MEASURED_MM = (26.0, 50.0)
"""Those of the slices that are measured."""

METRIC_NAMES = ("rmse", "psnr", "ms_ssim")
SAME_SUBJECT, OTHER_SUBJECT = "the same person, slices below", "another person"

METHOD_LEVELS = {
    NO_HARMONIZATION: "The source scan as it is",
    HISTOGRAM_MATCHING: "Histogram matching (scikit-image) to the reference",
    CURVE_ONLY: METHOD_DESCRIPTIONS[CURVE_ONLY],
    IHF_HARMONY: "The whole method with the reference as target",
}
SUBJECT_COLUMNS = {
    "subject": Column("Label map of the simulated subject"),
    "modality": Column(SLAB_MODALITY),
    "source": Column("Scanner of the scan that is harmonized"),
    "target": Column("Scanner it is harmonized to; the truth is the same subject's scan by it"),
    "reference": Column("The subject, and the slices, of the scan by which the target is known"),
    "method": Column("What made the image that is compared with the truth", levels=METHOD_LEVELS),
    **{name: VENDOR_SUBJECT_COLUMNS[name] for name in METRIC_NAMES},
}
SLAB_COLUMNS = {
    **{name: SUBJECT_COLUMNS[name] for name in ("modality", "reference", "method")},
    "subjects": Column("Number of subjects"),
    "pairs": Column("Number of pairs of scanners over all subjects"),
    **{name: SUBJECT_COLUMNS[name] for name in METRIC_NAMES},
    "nearer": Column("Pairs whose RMSE is below that of histogram matching"),
}


def crop_to_slab(scan: NetworkInput, low_mm: float, high_mm: float) -> NetworkInput:
    """The slices of a scan between two axial template coordinates."""
    slices = np.flatnonzero((scan.z >= low_mm) & (scan.z < high_mm))
    data, mask = (np.ascontiguousarray(array[:, :, slices]) for array in (scan.data, scan.mask))
    affine = scan.grid.affine.copy()
    affine[2, 3] = scan.z[slices[0]]
    scale = robust_scale(data, mask > 0.5)
    return NetworkInput(data, mask, Grid(data.shape, affine), scale, modality=SLAB_MODALITY)


def scan_by_all(labels: Path, name: str, scanners_of: str) -> dict[str, NetworkInput]:
    """A subject by the off-range scanners of the subject ``scanners_of`` and a vendor's."""
    subject = load_test_subject(label_map(labels, name), name, BENCHMARK_SEED)
    scanners = off_range_scanners(scanners_of, SLAB_MODALITY, BENCHMARK_SEED)
    scanners[SLAB_VENDOR] = vendor_scanners(name, SLAB_MODALITY, BENCHMARK_SEED)[SLAB_VENDOR]
    scans = {}
    for scanner_name, scanner in scanners.items():
        noise_seed = seed_of(BENCHMARK_SEED, name, SLAB_MODALITY, scanner_name, "noise")
        scans[scanner_name] = scan_subject(subject, scanner, noise_seed)
    return scans


def measured_part(image: NDArray[Any], frame: Slices) -> NDArray[Any]:
    """Of slices (X, Y, S), those that are measured."""
    return image[:, :, (frame.z >= MEASURED_MM[0]) & (frame.z < MEASURED_MM[1])]


def evaluate_slabs(labels: Path, name: str) -> list[Row]:
    """Metrics of a subject for every pair of scanners, reference and method."""
    scans = scan_by_all(labels, name, name)
    other_scans = scan_by_all(labels, REFERENCE_SUBJECTS[0], name)
    models = {IHF_HARMONY: load_model()}
    rows: list[Row] = []
    for source, target in permutations([*OFF_RANGE_SCANNERS, SLAB_VENDOR], 2):
        scan = crop_to_slab(scans[source], *SLAB_MM)
        source_slices = select_slices(scan)
        frame = select_slices(crop_to_slab(scans[target], *SLAB_MM))
        truth = attrs.evolve(
            frame,
            data=measured_part(frame.data, frame),
            mask=measured_part(frame.mask, frame),
        )
        references = {
            SAME_SUBJECT: crop_to_slab(scans[target], *REFERENCE_BELOW_MM),
            OTHER_SUBJECT: crop_to_slab(other_scans[target], *SLAB_MM),
        }
        for label, reference in references.items():
            profile = measure_profile(reference, models[IHF_HARMONY].encoder)
            images = {NO_HARMONIZATION: source_slices.data, **run_networks(scan, profile, models)}
            images[HISTOGRAM_MATCHING] = histogram_matching.harmonize(
                MaskedImage(source_slices.data, source_slices.mask),
                [MaskedImage(reference.data, reference.brain)],
            )
            for method in METHOD_LEVELS:
                row: Row = {"subject": name, "modality": SLAB_MODALITY}
                row |= {"source": source, "target": target, "reference": label}
                metrics = image_metrics(measured_part(images[method], frame), truth)
                rows.append(row | {"method": method} | metrics)
    return rows


def aggregate(rows: Sequence[Row]) -> list[Row]:
    """Medians over subjects of their means over pairs, and how often a method beats matching."""
    groups = group_rows(rows, ["modality", "reference", "method"])
    table: list[Row] = []
    for (modality, reference, method), group in groups.items():
        matched = groups[modality, reference, HISTOGRAM_MATCHING]
        subjects = group_rows(group, ["subject"])
        line: Row = {"modality": modality, "reference": reference, "method": method}
        line |= {"subjects": len(subjects), "pairs": len(group)}
        for name in METRIC_NAMES:
            means = [np.mean([row[name] for row in pairs]) for pairs in subjects.values()]
            line[name] = float(np.median(means))
        better = [a["rmse"] < b["rmse"] for a, b in zip(group, matched, strict=True)]
        table.append(line | {"nearer": sum(better)})
    return table


def main() -> None:
    """Measure the subjects, two at a time, and write the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.slab", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("labels", type=Path, metavar="LABELS_DIR", help="label maps")
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="slab.tsv and more")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help="default: head-13 to 16")
    arguments = parser.parse_args()
    subjects = arguments.subjects or TEST_SUBJECTS
    check_subjects(arguments.labels, subjects, REFERENCE_SUBJECTS[:1])
    with worker_pool(2) as pool:
        tasks = [(arguments.labels, name) for name in subjects]
        measured = run_tasks(pool, evaluate_slabs, tasks, "Measured")
    rows = [row for subject_rows in measured for row in subject_rows]
    command = "python -m bids_ihf.lab.benchmarks.slab LABELS_DIR OUT_DIR"
    facts = {
        "Command": " ".join([command, *arguments.subjects]),
        "Convention": METRIC_CONVENTION,
        "Seed": BENCHMARK_SEED,
    }
    tables = {
        "slab_subjects": Table(rows, SUBJECT_COLUMNS),
        "slab": Table(aggregate(rows), SLAB_COLUMNS),
    }
    for table_name, table in tables.items():
        for filename, content in table.files(table_name, facts).items():
            write_atomic(arguments.output / filename, content)
    sys.stdout.write((arguments.output / "slab.tsv").read_text())


if __name__ == "__main__":
    main()
