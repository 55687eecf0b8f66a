"""Scans of label maps at their first and second visits, what methods make of them, and volumes.

Masks and registration are the true ones; bias is corrected as in a real run.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.anat.harmonize import harmonize
from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid, resample
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.virtual_subjects import load_test_subject, seed_of, vendor_scanners
from bids_ihf.lab.benchmarks.volumetry.label_changes import STRUCTURES, region_of
from bids_ihf.lab.benchmarks.volumetry.measures import volumes_in_regions
from bids_ihf.lab.benchmarks.volumetry.studies import work_folder
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.label_anatomy import read_label_map
from bids_ihf.lab.simulation.virtual_subject import N4_VOXEL_MM, calibrate_units
from bids_ihf.network.checkpoint import load_model
from bids_ihf.preprocessing import bias_field
from bids_ihf.qc.histogram_matching import match_brain
from bids_ihf.targets.source_profile import source_profile_of
from bids_ihf.targets.target_file import vendor_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.volumetry.label_changes import Structure
    from bids_ihf.lab.simulation.label_anatomy import LabelMap
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.preprocessing.prepare import Prepared
    from bids_ihf.targets.profile import Profile
    from bids_ihf.targets.source_profile import SourceProfile

    Volumes = dict[str, dict[str, float]]
    """Volumes (mL) by tool and structure."""

LOGGER = logging.getLogger(__name__)

LABELS_SUFFIX = "_dseg.nii.gz"
"""Ends the names of label maps."""

TARGET_VENDOR = "Siemens"
"""Vendor that everything is harmonized to."""


@frozen
class VisitsPlan:
    """Whose visits are simulated.

    Attributes
    ----------
    labels
        Folder of the label maps.
    people, references
        Heads that are followed, and those whose scans histogram matching knows.
    seed
        Of all that is drawn.
    records
        Folder of what was measured; it is not measured again.
    """

    labels: Path
    people: tuple[str, ...]
    references: tuple[str, ...]
    seed: int
    records: Path


@frozen(eq=False)
class Head:
    """A head before anything changes.

    Attributes
    ----------
    subject, label_map
        The head, and the map that it was made of.
    regions
        Region (X, Y, Z) of each structure.
    """

    subject: RegisteredSubject
    label_map: LabelMap
    regions: dict[str, NDArray[np.bool_]]

    def volumes(self, image: NDArray[np.float32]) -> Volumes:
        """Volumes in an image (X, Y, Z) of the head."""
        tissues = {name: STRUCTURES[name].tissue for name in self.regions}
        affine, brain = self.subject.anatomy.affine, self.subject.brain
        return volumes_in_regions(image, affine, brain, self.regions, tissues)

    def structure_ml(self, structure: Structure) -> float:
        """True volume of a structure."""
        voxels = int(np.isin(self.label_map.labels, structure.labels).sum())
        return voxels * float(np.prod(self.label_map.zooms)) / 1000


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

    def target(self) -> Profile:
        """The target.

        Raises
        ------
        BadData
            The target was built with another encoder.
        """
        target = vendor_target(TARGET_VENDOR, self.model.encoder_hash)
        if target is None:
            raise BadData(f"The {TARGET_VENDOR} target belongs to another encoder; rebuild it.")
        return target.profile("T1w")

    def source(self, vendor: str) -> SourceProfile[Profile] | None:
        """What is known of a vendor's scanners."""
        return source_profile_of(vendor_target(vendor, self.model.encoder_hash), "T1w")

    def harmonize(
        self, visits: Sequence[Prepared], vendor: str, index: int = 0
    ) -> NDArray[np.float32]:
        """The image (X, Y, Z) of one of several visits that share a mapping.

        Raises
        ------
        BadData
            The target was built with another encoder.
        """
        return harmonize(
            visits[index],
            self.target(),
            self.model,
            modality="T1w",
            source=self.source(vendor),
            before=visits[:index],
            after=visits[index + 1 :],
        ).image


def read_head(labels: Path, name: str, structures: Sequence[str], seed: int) -> Head:
    """A head of a folder of label maps."""
    path = labels / f"{name}{LABELS_SUFFIX}"
    label_map = read_label_map(path)
    subject = load_test_subject(path, name, seed)
    grid = Grid(subject.anatomy.shape, subject.anatomy.affine)
    whole = Grid(label_map.labels.shape, label_map.affine)
    regions = {
        key: resample(region_of(label_map, STRUCTURES[key]).astype(np.float32), whole, grid) > 0.5
        for key in structures
    }
    return Head(subject, label_map, regions)


def harmonizer_of(
    labels: Path, references: Sequence[str], model: ModelBundle, seed: int
) -> Harmonizer:
    """The methods, after scanning the references by the target's typical scanner."""
    scans = []
    for name in references:
        subject = load_test_subject(labels / f"{name}{LABELS_SUFFIX}", name, seed)
        scanner = vendor_scanners(name, "T1w", seed)[TARGET_VENDOR]
        scans.append(scan_corrected(subject, scanner, seed_of(seed, name, "reference")))
    values = np.concatenate([scan.volume.data[scan.mask] for scan in scans])
    low = min(float(scan.volume.data.min()) for scan in scans)
    return Harmonizer(model, values, (low, max(float(s.volume.data.max()) for s in scans)))


def scan_corrected(subject: RegisteredSubject, scanner: Scanner, noise_seed: int) -> Prepared:
    """A scan of a subject after bias correction."""
    anatomy = subject.anatomy
    image = scan(anatomy, scanner, noise_seed)
    image /= bias_field.bias_field(image, anatomy.affine, subject.brain, shrink=N4_VOXEL_MM)
    return subject.prepared(calibrate_units(image, anatomy, scanner))


def measured_rows(
    plan: VisitsPlan,
    measures: Iterable[tuple[str, Callable[[Harmonizer], list[Row]]]],
    *facts: object,
) -> list[Row]:
    """Rows of all measures, read if they were recorded, else measured and recorded.

    Parameters
    ----------
    plan
        Whose visits; references are scanned only if something has to be measured.
    measures
        Name of the record, and what measures its rows.
    facts
        What the rows depend on beside the model, the targets, the seed and the references.
    """
    model = load_model(None, device="cpu")
    folder = work_folder(plan.records, model, plan.seed, plan.references, *facts)
    harmonizer: Harmonizer | None = None
    rows: list[Row] = []
    for name, measure in measures:
        file = folder / f"{name}.json"
        if not file.is_file():
            harmonizer = harmonizer or harmonizer_of(
                plan.labels, plan.references, model, plan.seed
            )
            write_atomic(file, json.dumps(measure(harmonizer)).encode())
            LOGGER.info("Measured %s", name)
        rows += json.loads(file.read_text(encoding="utf-8"))
    return rows
