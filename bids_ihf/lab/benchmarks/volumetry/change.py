"""Change that must survive: structures that grow or shrink between two visits.

Visits are scans of a label map and of the same map with one structure changed by a known
percentage; the second is by the same scanner in another session, or by one of another vendor.
Masks and registration are the true ones; bias is corrected as in a real run.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.lab.benchmarks.volumetry.label_changes import STRUCTURES, change_volume
from bids_ihf.lab.benchmarks.volumetry.studies import volumetric_scanner
from bids_ihf.lab.benchmarks.volumetry.visits import (
    TARGET_VENDOR,
    VisitsPlan,
    measured_rows,
    read_head,
    scan_corrected,
)
from bids_ihf.lab.simulation.label_anatomy import anatomy_of
from bids_ihf.lab.simulation.tissues import GREY_MATTER_TISSUES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.volumetry.visits import Harmonizer, Head, Volumes
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.preprocessing.prepare import Prepared

SIMULATED_NAMES = {"grey matter": GREY_MATTER_TISSUES, "CSF": ("csf",)}
"""Simulated tissues that a structure's tissue stands for."""

NO_CHANGE = "none"
FIRST_VENDOR, SECOND_VENDOR = "Siemens", "GE"
"""Vendors of the first visit, and of the second on another scanner."""

ONE_SCANNER, TWO_SCANNERS = "one scanner", "two scanners"
SETTINGS = {
    ONE_SCANNER: f"Both visits on a scanner of {FIRST_VENDOR}'s population, with another position "
    "in its coil",
    TWO_SCANNERS: f"The second visit on one of {SECOND_VENDOR}'s population",
}
UNTOUCHED, MATCHING = "untouched", "histogram matching"
HARMONY, LONGITUDINAL = "ihf-harmony", "ihf-harmony --longitudinal"
METHODS = {
    UNTOUCHED: "The images as they are",
    MATCHING: f"Histogram matching of the brain to typical {TARGET_VENDOR} scans of other heads",
    HARMONY: f"Each visit harmonized by itself to the shipped {TARGET_VENDOR} target",
    LONGITUDINAL: "Both visits harmonized by one mapping",
}


@frozen
class ChangePlan(VisitsPlan):
    """What is simulated: by how much each of the structures changes, %."""

    structures: tuple[str, ...]
    percents: tuple[float, ...]

    def visits(self) -> Iterator[tuple[str, float]]:
        """What changed until the second visit, and by how much, %; first nothing."""
        yield NO_CHANGE, 0.0
        yield from ((name, value) for name in self.structures for value in self.percents)


@frozen(eq=False)
class FirstVisit:
    """The first visit of a head, and what is to come.

    Attributes
    ----------
    head
        The head.
    scanners
        Of the second visit by setting.
    prepared
        The scan of the first, bias-corrected.
    volumes
        Volumes (mL) in it, by method.
    """

    head: Head
    scanners: dict[str, Scanner]
    prepared: Prepared
    volumes: dict[str, Volumes]


def measure_changes(plan: ChangePlan) -> list[Row]:
    """Volumes of every head, visit and method; what is in ``plan.records`` is read again."""
    return measured_rows(plan, _measures(plan), *plan.structures)


def _measures(plan: ChangePlan) -> Iterator[tuple[str, Callable[[Harmonizer], list[Row]]]]:
    """Name and measure of every second visit; those of a head share its first."""
    for person in plan.people:
        first_visit = cache(partial(_first_visit, plan, person))
        for changed, percent in plan.visits():
            name = f"{person}-{changed.replace(' ', '-')}{percent:+g}"
            yield name, partial(_measure_visit, first_visit, changed, percent, plan.seed)


def _measure_visit(
    first_visit: Callable[[Harmonizer], FirstVisit],
    changed: str,
    percent: float,
    seed: int,
    harmonizer: Harmonizer,
) -> list[Row]:
    """A row for each setting, method, tool and structure."""
    first = first_visit(harmonizer)
    head = first.head
    label_map, subject = head.label_map, head.subject
    if changed != NO_CHANGE:
        change_seed = seed_of(seed, subject.name, changed)
        label_map = change_volume(label_map, STRUCTURES[changed], percent, seed=change_seed)
    anatomy = _cropped_like(anatomy_of(label_map, seed=subject.seed), subject.anatomy)
    subject = evolve(subject, anatomy=evolve(subject.anatomy, fractions=anatomy.fractions))
    truth = _true_changes(head, subject.anatomy)
    rows: list[Row] = []
    for setting, vendor in ((ONE_SCANNER, FIRST_VENDOR), (TWO_SCANNERS, SECOND_VENDOR)):
        noise_seed = seed_of(seed, subject.name, changed, f"{percent:g}", setting)
        second = scan_corrected(subject, first.scanners[setting], noise_seed)
        images = {
            UNTOUCHED: second.volume.data,
            MATCHING: harmonizer.match(second),
            HARMONY: harmonizer.harmonize([second], vendor),
        }
        before = dict(first.volumes)
        if setting == ONE_SCANNER:
            visits = [first.prepared, second]
            before[LONGITUDINAL] = head.volumes(harmonizer.harmonize(visits, vendor, 0))
            images[LONGITUDINAL] = harmonizer.harmonize(visits, vendor, 1)
        for method, image in images.items():
            for tool, by_structure in head.volumes(image).items():
                rows += [
                    {
                        "subject": subject.name, "changed": changed, "percent": percent,
                        "setting": setting, "method": method, "tool": tool, "structure": name,
                        "first_ml": before[method][tool][name], "second_ml": volume,
                        "structure_ml": head.structure_ml(STRUCTURES[name]),
                        "true_percent": truth[name],
                    }
                    for name, volume in by_structure.items()
                ]  # fmt: skip
    return rows


def _first_visit(plan: ChangePlan, name: str, harmonizer: Harmonizer) -> FirstVisit:
    head = read_head(plan.labels, name, plan.structures, plan.seed)
    own, other = (
        volumetric_scanner(vendor, name, seed=plan.seed)
        for vendor in (FIRST_VENDOR, SECOND_VENDOR)
    )
    scanners = {
        ONE_SCANNER: evolve(own, field_seed=own.field_seed + 1),
        TWO_SCANNERS: other,
    }
    prepared = scan_corrected(head.subject, own, seed_of(plan.seed, name, "first visit"))
    images = {
        UNTOUCHED: prepared.volume.data,
        MATCHING: harmonizer.match(prepared),
        HARMONY: harmonizer.harmonize([prepared], FIRST_VENDOR),
    }
    volumes = {method: head.volumes(image) for method, image in images.items()}
    return FirstVisit(head, scanners, prepared, volumes)


def _true_changes(head: Head, anatomy: Anatomy) -> dict[str, float]:
    """True change of the tissue in each region, % of the structure's volume.

    A structure that shrinks gives its volume to another one, whose region sees that.
    """
    voxel_ml = abs(float(np.linalg.det(anatomy.affine[:3, :3]))) / 1000
    changes = {}
    for name, region in head.regions.items():
        structure = STRUCTURES[name]
        before, after = (
            float(tissues.fraction(*SIMULATED_NAMES[structure.tissue])[region].sum())
            for tissues in (head.subject.anatomy, anatomy)
        )
        whole = head.structure_ml(structure)
        changes[name] = 100 * (after - before) * voxel_ml / whole
    return changes


def _cropped_like(anatomy: Anatomy, like: Anatomy) -> Anatomy:
    """An anatomy on the grid of another one, which is part of its own."""
    offset = np.linalg.inv(anatomy.affine) @ like.affine[:, 3]
    x, y, z = (
        slice(start, start + size)
        for start, size in zip(np.rint(offset[:3]).astype(int).tolist(), like.shape, strict=True)
    )
    return anatomy.cropped((x, y, z))
