"""Change that must survive: structures that grow or shrink between two visits.

Visits are scans of a label map and of the same map with one structure changed by a known
percentage; the second is by the same scanner in another session, or by one of another vendor.
Masks and registration are the true ones; bias is corrected as in a real run.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from bids_ihf.anat.harmonize import harmonize
from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.virtual_subjects import (
    load_test_subject,
    seed_of,
    vendor_scanners,
)
from bids_ihf.lab.benchmarks.volumetry.label_changes import STRUCTURES, change_volume, region_of
from bids_ihf.lab.benchmarks.volumetry.measures import volumes_in_regions
from bids_ihf.lab.benchmarks.volumetry.studies import volumetric_scanner
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.label_anatomy import anatomy_of, read_label_map
from bids_ihf.lab.simulation.virtual_subject import N4_VOXEL_MM, calibrate_units
from bids_ihf.network.checkpoint import load_model
from bids_ihf.preprocessing import bias_field
from bids_ihf.qc.histogram_matching import match_brain
from bids_ihf.targets.source_profile import source_profile_of
from bids_ihf.targets.target_file import vendor_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.volumetry.label_changes import Structure
    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.label_anatomy import LabelMap
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.preprocessing.prepare import Prepared

    Volumes = dict[str, dict[str, float]]
    """Volumes (mL) by tool and structure."""

LOGGER = logging.getLogger(__name__)

LABELS_SUFFIX = "_dseg.nii.gz"
"""Ends the names of label maps."""

SIMULATED_NAMES = {"grey matter": ("grey", "deep_grey"), "CSF": ("csf",)}
"""Simulated tissues that a structure's tissue stands for."""

NO_CHANGE = "none"
FIRST_VENDOR, SECOND_VENDOR, TARGET_VENDOR = "Siemens", "GE", "Siemens"
"""Vendors of the first visit, of the second on another scanner, and of the target."""

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
class ChangePlan:
    """What is simulated.

    Attributes
    ----------
    labels
        Folder of the label maps.
    people, references
        Heads that are followed, and those whose scans histogram matching knows.
    structures, percents
        What changes, and by how much.
    seed
        Of scanners, noise, and the voxels that change.
    records
        Folder of what was measured; it is not measured again.
    """

    labels: Path
    people: tuple[str, ...]
    references: tuple[str, ...]
    structures: tuple[str, ...]
    percents: tuple[float, ...]
    seed: int
    records: Path

    def visits(self) -> Iterator[tuple[str, float]]:
        """What changed until the second visit, and by how much, %; first nothing."""
        yield NO_CHANGE, 0.0
        yield from ((name, value) for name in self.structures for value in self.percents)


@frozen(eq=False)
class Head:
    """A head before anything changes.

    Attributes
    ----------
    subject, label_map
        The head, and the map that it was made of.
    regions
        Region (X, Y, Z) of each structure.
    scanners
        Of the first visit, and of the second by setting.
    first
        The scan of the first visit, bias-corrected.
    first_volumes
        Volumes (mL) in it, by method.
    """

    subject: RegisteredSubject
    label_map: LabelMap
    regions: dict[str, NDArray[np.bool_]]
    scanners: dict[str, Scanner]
    first: Prepared
    first_volumes: dict[str, Volumes]


@frozen(eq=False)
class Harmonizer:
    """The methods, with what they know of the target.

    ``brain_values`` (N,) are intensities of the brains of the references, ``limits`` the darkest
    and brightest of their images.
    """

    model: ModelBundle
    brain_values: NDArray[np.float32]
    limits: tuple[float, float]

    def match(self, prepared: Prepared) -> NDArray[np.float32]:
        """An image (X, Y, Z) after histogram matching."""
        data = prepared.volume.data
        return match_brain(data, prepared.mask, self.brain_values, self.limits)

    def harmonize(
        self, visits: Sequence[Prepared], vendor: str, index: int = 0
    ) -> NDArray[np.float32]:
        """The image (X, Y, Z) of one of several visits that share a mapping.

        Raises
        ------
        BadData
            The target was built with another encoder.
        """
        encoder_hash = self.model.encoder_hash
        target = vendor_target(TARGET_VENDOR, encoder_hash)
        if target is None:
            raise BadData(f"The {TARGET_VENDOR} target belongs to another encoder; rebuild it.")
        return harmonize(
            visits[index],
            target.profile("T1w"),
            self.model,
            modality="T1w",
            source=source_profile_of(vendor_target(vendor, encoder_hash), "T1w"),
            before=visits[:index],
            after=visits[index + 1 :],
        ).image


def measure_changes(plan: ChangePlan) -> list[Row]:
    """Volumes of every head, visit and method; what is in ``plan.records`` is read again."""
    model = load_model(None, device="cpu")
    folder = plan.records / f"{model.hash[:8]}-seed{plan.seed}"
    harmonizer: Harmonizer | None = None
    rows: list[Row] = []
    for person in plan.people:
        head: Head | None = None
        for changed, percent in plan.visits():
            file = folder / f"{person}-{changed.replace(' ', '-')}{percent:+g}.json"
            if not file.is_file():
                harmonizer = harmonizer or _harmonizer(plan, model)
                head = head or _head(plan, person, harmonizer)
                measured = _measure_visit(head, changed, percent, harmonizer, plan.seed)
                write_atomic(file, json.dumps(measured).encode())
                LOGGER.info("Measured %s, %s %+g %%", person, changed, percent)
            rows += json.loads(file.read_text(encoding="utf-8"))
    return rows


def _measure_visit(
    head: Head, changed: str, percent: float, harmonizer: Harmonizer, seed: int
) -> list[Row]:
    """A row for each setting, method, tool and structure."""
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
        second = _scan(subject, head.scanners[setting], noise_seed)
        images = {
            UNTOUCHED: second.volume.data,
            MATCHING: harmonizer.match(second),
            HARMONY: harmonizer.harmonize([second], vendor),
        }
        before = dict(head.first_volumes)
        if setting == ONE_SCANNER:
            visits = [head.first, second]
            before[LONGITUDINAL] = _volumes(head, harmonizer.harmonize(visits, vendor, 0))
            images[LONGITUDINAL] = harmonizer.harmonize(visits, vendor, 1)
        for method, image in images.items():
            for tool, by_structure in _volumes(head, image).items():
                rows += [
                    {
                        "subject": subject.name, "changed": changed, "percent": percent,
                        "setting": setting, "method": method, "tool": tool, "structure": name,
                        "first_ml": before[method][tool][name], "second_ml": volume,
                        "structure_ml": _structure_ml(head.label_map, STRUCTURES[name]),
                        "true_percent": truth[name],
                    }
                    for name, volume in by_structure.items()
                ]  # fmt: skip
    return rows


def _harmonizer(plan: ChangePlan, model: ModelBundle) -> Harmonizer:
    """The methods, after scanning the references by the target's typical scanner."""
    scans = []
    for name in plan.references:
        subject = load_test_subject(plan.labels / f"{name}{LABELS_SUFFIX}", name, plan.seed)
        scanner = vendor_scanners(name, "T1w", plan.seed)[TARGET_VENDOR]
        scans.append(_scan(subject, scanner, seed_of(plan.seed, name, "reference")))
    values = np.concatenate([scan.volume.data[scan.mask] for scan in scans])
    low = min(float(scan.volume.data.min()) for scan in scans)
    return Harmonizer(model, values, (low, max(float(s.volume.data.max()) for s in scans)))


def _head(plan: ChangePlan, name: str, harmonizer: Harmonizer) -> Head:
    """A head with its first visit."""
    path = plan.labels / f"{name}{LABELS_SUFFIX}"
    label_map = read_label_map(path)
    subject = load_test_subject(path, name, plan.seed)
    grid = Grid(subject.anatomy.shape, subject.anatomy.affine)
    whole = Grid(label_map.labels.shape, label_map.affine)
    regions = {
        key: resample(region_of(label_map, STRUCTURES[key]).astype(np.float32), whole, grid) > 0.5
        for key in plan.structures
    }
    own, other = (
        volumetric_scanner(vendor, name, seed=plan.seed)
        for vendor in (FIRST_VENDOR, SECOND_VENDOR)
    )
    scanners = {
        ONE_SCANNER: evolve(own, field_seed=own.field_seed + 1),
        TWO_SCANNERS: other,
    }
    first = _scan(subject, own, seed_of(plan.seed, name, "first visit"))
    head = Head(subject, label_map, regions, scanners, first, {})
    images = {
        UNTOUCHED: first.volume.data,
        MATCHING: harmonizer.match(first),
        HARMONY: harmonizer.harmonize([first], FIRST_VENDOR),
    }
    return evolve(
        head, first_volumes={method: _volumes(head, image) for method, image in images.items()}
    )


def _scan(subject: RegisteredSubject, scanner: Scanner, noise_seed: int) -> Prepared:
    """A scan of a subject after bias correction."""
    anatomy = subject.anatomy
    image = scan(anatomy, scanner, noise_seed)
    image /= bias_field.bias_field(image, anatomy.affine, subject.brain, shrink=N4_VOXEL_MM)
    return subject.prepared(calibrate_units(image, anatomy, scanner))


def _volumes(head: Head, image: NDArray[np.float32]) -> Volumes:
    tissues = {name: STRUCTURES[name].tissue for name in head.regions}
    affine, brain = head.subject.anatomy.affine, head.subject.brain
    return volumes_in_regions(image, affine, brain, head.regions, tissues)


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
        whole = _structure_ml(head.label_map, structure)
        changes[name] = 100 * (after - before) * voxel_ml / whole
    return changes


def _structure_ml(label_map: LabelMap, structure: Structure) -> float:
    """True volume of a structure at the first visit."""
    voxels = int(np.isin(label_map.labels, structure.labels).sum())
    return voxels * float(np.prod(label_map.zooms)) / 1000


def _cropped_like(anatomy: Anatomy, like: Anatomy) -> Anatomy:
    """An anatomy on the grid of another one, which is part of its own."""
    offset = np.linalg.inv(anatomy.affine) @ like.affine[:, 3]
    x, y, z = (
        slice(start, start + size)
        for start, size in zip(np.rint(offset[:3]).astype(int).tolist(), like.shape, strict=True)
    )
    return anatomy.cropped((x, y, z))
