"""Effects of age in real people, half of whom seem to come from another scanner.

The images of every second person, by age, go through a change of scanner that is known
(:mod:`~bids_ihf.lab.benchmarks.volumetry.image_scanners`); a study has no person on both scanners.
The truth is the same study with nothing changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from attrs import evolve, field, frozen

from bids_ihf.bids.images import SourceImage
from bids_ihf.errors import NothingSelected
from bids_ihf.io.tsv import read_tsv
from bids_ihf.lab.benchmarks.tables import Column, Table, group_rows
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.lab.benchmarks.volumetry.image_scanners import by_another_scanner
from bids_ihf.lab.benchmarks.volumetry.studies import (
    bids_label,
    image_path,
    link,
    measure,
    validation_columns,
    work_folder,
    write_image,
)
from bids_ihf.network.checkpoint import load_model
from bids_ihf.validation.agreement import mean_with_interval
from bids_ihf.validation.effects import Covariates
from bids_ihf.validation.outcomes import UNTOUCHED, Settings
from bids_ihf.validation.records import volume_records
from bids_ihf.validation.results import METHOD_LEVELS, effect_rows, probe_rows, target_results
from bids_ihf.validation.scans import Scan, Study

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.validation.records import VolumeRecord

OWN, OTHER = "own scanner", "changed scanner"
"""Names of the scanner that made the images and of the simulated one."""

TRUTH = "truth"
TRUTH_LEVEL = "The images of all people before the change of scanner"
COVARIATES = ("age", "sex")
METHOD_COLUMN = Column(
    "What was done to the images or volumes", levels=METHOD_LEVELS | {TRUTH: TRUTH_LEVEL}
)


@frozen
class AgePlan:
    """What is measured.

    Attributes
    ----------
    data
        Folder with ``participants.tsv`` and ``t1/ID_T1w.nii.gz``.
    people
        Number of people, spread over all ages; None: all.
    settings
        How volumes are measured.
    seed
        Of the change of scanner.
    records
        Folder of the changed images and of what was measured already.
    """

    data: Path
    people: int | None
    seed: int
    records: Path
    settings: Settings = field(factory=lambda: Settings(atropos=True))


def measure_age(plan: AgePlan) -> dict[str, Table]:
    """The tables by name: effects, distance of volumes from the truth, and probes.

    Raises
    ------
    NothingSelected
        The folder has no images.
    """
    people = _people(plan)
    model = load_model(None, device="cpu")
    labels = (row["participant_id"] for row in people)
    folder = work_folder(plan.records, model, plan.seed, plan.settings, *labels)
    truth_study, study = _studies(people, plan, folder)
    settings = plan.settings
    truth = measure(truth_study, (), settings, folder / "truth")
    findings = measure(study, (OWN,), settings, folder / "study")
    rows = {bids_label(row["participant_id"]): row for row in people}
    covariates = Covariates.read(rows, study.people, COVARIATES)
    results = target_results(volume_records(findings.outcomes), OWN, covariates)
    true_records = [
        evolve(record, method=TRUTH)
        for record in (*volume_records(truth.outcomes), *results.records)
        if record.method == UNTOUCHED and record.scan.scanner == OWN
    ]
    effects = effect_rows(
        findings, evolve(results, records=(*true_records, *results.records)), covariates
    )
    return {
        "age_effects": Table(effects, validation_columns("effects") | {"method": METHOD_COLUMN}),
        "age_volumes": Table(_distances(results.records, true_records), DISTANCE_COLUMNS),
        "age_probes": Table(probe_rows(findings), validation_columns("probes")),
    }


def _people(plan: AgePlan) -> list[dict[str, str]]:
    """Rows of participants.tsv in the order of age, of those with an image."""
    _, rows = read_tsv(plan.data / "participants.tsv")
    rows = [row for row in rows if _source(plan, row).is_file()]
    if not rows:
        raise NothingSelected(f"{plan.data}: no t1/ID_T1w.nii.gz of participants.tsv is there.")
    rows.sort(key=lambda row: float(row["age"]))
    count = min(plan.people or len(rows), len(rows))
    return [rows[number] for number in np.linspace(0, len(rows) - 1, count).round().astype(int)]


def _source(plan: AgePlan, row: dict[str, str]) -> Path:
    return plan.data / "t1" / f"{row['participant_id']}_T1w.nii.gz"


def _studies(people: Sequence[dict[str, str]], plan: AgePlan, folder: Path) -> tuple[Study, Study]:
    """The true scans of every second person, and the study with theirs by the changed scanner."""
    true_scans, scans = [], []
    for number, row in enumerate(people):
        label, source = bids_label(row["participant_id"]), _source(plan, row)
        own = Scan(link(source, folder / "own", label), OWN)
        if number % 2:
            other = _changed(source, folder / "other", label, seed_of(plan.seed, label))
            scans.append(Scan(other, OTHER))
            true_scans.append(own)
        else:
            scans.append(own)
    how = "simulated"
    return Study("T1w", tuple(true_scans), how), Study("T1w", tuple(scans), how)


def _changed(source: Path, root: Path, label: str, seed: int) -> SourceImage:
    """The image as if the other scanner had made it, under a BIDS name."""
    path = image_path(root, label)
    if not path.exists():
        image: Any = nib.load(source)
        zooms = np.asarray(image.header.get_zooms()[:3], dtype=np.float64)
        data = by_another_scanner(image.get_fdata(dtype=np.float32), zooms, seed)
        write_image(path, nib.Nifti1Image(data, image.affine))
    return SourceImage.from_path(path, root)


DISTANCE_COLUMNS = {
    "scanner": Column("Scanner of the people"),
    "tool": Column("What measured the volumes"),
    "structure": Column("Structure as the tool names it"),
    "method": Column("What was done to the images or volumes", levels=METHOD_LEVELS),
    "people": Column("Number of people"),
    "bias": Column("Mean difference from the true volume, of that volume", "%"),
    "bias_low": Column("95 % interval of the bias over people, Student's t: low", "%"),
    "bias_high": Column("The same, high", "%"),
    "difference": Column("Mean absolute difference from the true volume, of that volume", "%"),
}


def _distances(records: Sequence[VolumeRecord], truth: Sequence[VolumeRecord]) -> list[Row]:
    """How far volumes are from the truth, by scanner, tool, structure and method."""
    true = {(r.scan.person, r.tool, r.structure): r.volume_ml for r in truth}
    rows = [
        {
            "scanner": record.scan.scanner, "tool": record.tool, "structure": record.structure,
            "method": record.method, "percent": 100 * (record.volume_ml / value - 1),
        }
        for record in records
        if (value := true.get((record.scan.person, record.tool, record.structure)))
    ]  # fmt: skip
    keys = ["scanner", "tool", "structure", "method"]
    table = []
    for labels, members in group_rows(rows, keys).items():
        percents = np.array([row["percent"] for row in members], dtype=np.float64)
        bias = mean_with_interval(percents)
        table.append(
            dict(zip(keys, labels, strict=True))
            | {"people": len(members), "bias": bias.value, "bias_low": bias.low}
            | {"bias_high": bias.high, "difference": float(np.abs(percents).mean())}
        )
    return table
