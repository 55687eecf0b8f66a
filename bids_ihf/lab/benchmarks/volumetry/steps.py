"""Which step of harmonization moves volumes between scanners of a head that does not change.

The first visit is on a scanner of the target's vendor, the second on one of another vendor's
population.  Steps are taken off from the end: without the network, and without the field, too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.anat.harmonize import apply_network, to_native_grid
from bids_ihf.anat.intensity_matching import match_intensities
from bids_ihf.lab.benchmarks.tables import Column, Table, group_rows
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.lab.benchmarks.volumetry.label_changes import STRUCTURES
from bids_ihf.lab.benchmarks.volumetry.measures import TOOL_LEVELS
from bids_ihf.lab.benchmarks.volumetry.studies import volumetric_scanner
from bids_ihf.lab.benchmarks.volumetry.visits import (
    TARGET_VENDOR,
    measured_rows,
    read_head,
    scan_corrected,
)
from bids_ihf.targets.network_input import to_network_input
from bids_ihf.targets.network_pass import feather
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.volumetry.visits import Harmonizer, VisitsPlan
    from bids_ihf.preprocessing.prepare import Prepared

    Image = NDArray[np.float32]

SECOND_VENDORS = tuple(vendor for vendor in BUILTIN_VENDORS if vendor != TARGET_VENDOR)
METHODS = {
    "untouched": "The images as they are",
    "histogram matching": f"To typical {TARGET_VENDOR} scans of other heads",
    "curve": "The intensity curve alone",
    "curve and field": "Curve and regional field, without the network",
    "ihf-harmony": "The whole method",
}
LABEL_COLUMNS = {
    "tool": Column("How tissues are told", levels=TOOL_LEVELS),
    "structure": Column("Structure whose tissue is measured within 3 mm of it"),
    "method": Column("What was done to both images", levels=METHODS),
}
STEP_COLUMNS = LABEL_COLUMNS | {
    "pairs": Column("Number of pairs of visits"),
    "false_percent": Column("Mean absolute change of the volume, where there is none", "%"),
    "mean_percent": Column("Mean change of the volume, with its sign", "%"),
}
PAIR_COLUMNS = LABEL_COLUMNS | {
    "subject": Column("Label map of the simulated head"),
    "vendor": Column("Vendor of the scanner of the second visit"),
    "first_ml": Column("Volume in the region at the first visit", "mL"),
    "second_ml": Column("Volume in the region at the second visit", "mL"),
    "percent": Column("Change of the volume", "%"),
}


def measure_steps(plan: VisitsPlan) -> dict[str, Table]:
    """The tables by name: over all pairs of visits, and each pair."""
    measures = ((f"{name}-steps", partial(_measure_head, plan, name)) for name in plan.people)
    return step_tables(measured_rows(plan, measures))


def step_tables(rows: list[Row]) -> dict[str, Table]:
    """The tables of rows with two volumes each."""
    pairs = [row | {"percent": 100 * (row["second_ml"] / row["first_ml"] - 1)} for row in rows]
    summary = []
    for labels, members in group_rows(pairs, list(LABEL_COLUMNS)).items():
        percents = np.array([row["percent"] for row in members])
        summary.append(
            dict(zip(LABEL_COLUMNS, labels, strict=True))
            | {
                "pairs": len(members),
                "false_percent": float(np.abs(percents).mean()),
                "mean_percent": float(percents.mean()),
            }
        )
    return {"steps": Table(summary, STEP_COLUMNS), "steps_pairs": Table(pairs, PAIR_COLUMNS)}


def _measure_head(plan: VisitsPlan, name: str, harmonizer: Harmonizer) -> list[Row]:
    """A row for each vendor of the second visit, tool, structure and method."""
    head = read_head(plan.labels, name, tuple(STRUCTURES), plan.seed)

    def volumes_by_method(vendor: str, visit: str) -> dict[str, dict[str, dict[str, float]]]:
        scanner = volumetric_scanner(vendor, name, seed=plan.seed)
        scan = scan_corrected(head.subject, scanner, seed_of(plan.seed, name, visit))
        images = images_by_step(scan, vendor, harmonizer)
        return {method: head.volumes(image) for method, image in images.items()}

    first = volumes_by_method(TARGET_VENDOR, "first visit")
    rows: list[Row] = []
    for vendor in SECOND_VENDORS:
        second = volumes_by_method(vendor, f"second visit, {vendor}")
        rows += [
            {
                "subject": name, "vendor": vendor, "tool": tool, "structure": structure,
                "method": method, "first_ml": first[method][tool][structure],
                "second_ml": volume,
            }
            for method, by_tool in second.items()
            for tool, by_structure in by_tool.items()
            for structure, volume in by_structure.items()
        ]  # fmt: skip
    return rows


def images_by_step(scan: Prepared, vendor: str, harmonizer: Harmonizer) -> dict[str, Image]:
    """Images (X, Y, Z) of a scan by method; outside the brain they are not those of a run."""
    target, model = harmonizer.target(), harmonizer.model
    on_grid = to_network_input(scan, "T1w")
    matched = match_intensities(on_grid, target, model, harmonizer.source(vendor))
    by_curve = matched.curve(on_grid.scale.normalize(scan.corrected))

    def with_change(result: Image) -> Image:
        change = (result - matched.data) * feather(on_grid.mask)
        image: Image = target.scale.restore(by_curve + to_native_grid(change, on_grid, scan))
        return image.astype(np.float32)

    return {
        "untouched": scan.volume.data,
        "histogram matching": harmonizer.match(scan),
        "curve": with_change(matched.data),
        "curve and field": with_change(matched.with_field(matched.data)),
        "ihf-harmony": with_change(matched.with_field(apply_network(matched, model))),
    }
