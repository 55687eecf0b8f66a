"""One run of ``ihf validate``: find, measure, tables, page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from attrs import field, frozen

from bids_ihf.bids.dataset_files import initialize_output
from bids_ihf.bids.names import ANATOMICAL_MODALITIES, Modality
from bids_ihf.errors import BadData, UsageError
from bids_ihf.io.atomic import make_folder
from bids_ihf.validation.effects import Covariates
from bids_ihf.validation.measuring import Findings, Workers, measure_study
from bids_ihf.validation.outcomes import IHF_HARMONY, UNTOUCHED, Settings
from bids_ihf.validation.page import page_section, write_page
from bids_ihf.validation.records import VolumeRecord, volume_records
from bids_ihf.validation.results import (
    COLUMNS,
    Row,
    TargetResults,
    effect_rows,
    image_rows,
    pair_rows,
    probe_rows,
    target_results,
    volume_rows,
    write_table,
)
from bids_ihf.validation.scans import EVERY_SCANNER, Study, find_studies
from bids_ihf.validation.tables import participant_rows
from bids_ihf.validation.volume_files import match_scans, read_tool_volumes
from bids_ihf.version import __version__

LOGGER = logging.getLogger(__name__)

IMAGES_FOLDER = "harmonized"
"""Folder of the harmonized images, a dataset of its own beside the tables."""

DEFAULT_COVARIATES = ("age", "sex")
"""Columns of participants.tsv whose effects are measured where they are there."""


@frozen
class ValidationPlan:
    """What is validated, and how.

    Attributes
    ----------
    bids_dir, out_dir
        Dataset, and folder of the page and the tables.
    modalities, labels, scanner_column, derivatives
        Which images, and how their scanner is named; see :func:`find_studies`.
    to
        Scanner to harmonize to, EVERY_SCANNER, or None for the one with most people.
    covariates
        Columns of participants.tsv.
    volumes_before, volumes_after
        What another tool measured in the images and in the harmonized images.
    settings
        How scans are prepared and measured.
    """

    bids_dir: Path
    out_dir: Path
    modalities: tuple[Modality, ...] = ANATOMICAL_MODALITIES
    labels: tuple[str, ...] = ()
    scanner_column: str | None = None
    derivatives: tuple[Path, ...] = ()
    to: str | None = None
    covariates: tuple[str, ...] = DEFAULT_COVARIATES
    volumes_before: Path | None = None
    volumes_after: Path | None = None
    settings: Settings = field(factory=Settings)


def validate(plan: ValidationPlan, workers: Workers) -> list[str]:
    """Measure, write the page and the tables, and return what failed, in words.

    Raises
    ------
    NothingSelected
        There are too few people on two scanners.
    UsageError
        There is no such scanner, column or file.
    CannotWrite
        An output cannot be written.
    """
    findings = measure_dataset(plan, workers)
    write_results(findings, plan)
    return [failure for found in findings for failure in found.failures]


def measure_dataset(plan: ValidationPlan, workers: Workers) -> list[Findings]:
    """What was measured of the study of each modality; raises as :func:`validate`."""
    studies = find_studies(
        plan.bids_dir,
        modalities=plan.modalities,
        labels=plan.labels,
        scanner_column=plan.scanner_column,
        derivatives=plan.derivatives,
    )
    targets = [choose_targets(study, plan.to) for study in studies]
    # What is wrong with tables and folders shows before hours of work.
    participant_rows(plan.bids_dir)
    for study in studies:
        _tool_records(study, plan)
    make_folder(plan.out_dir)
    if plan.settings.images_dir is not None:
        initialize_output(plan.settings.images_dir, plan.bids_dir)
    with TemporaryDirectory(prefix="ihf-validate-") as folder:
        return [
            measure_study(study, names, plan.settings, workers, Path(folder))
            for study, names in zip(studies, targets, strict=True)
        ]


def write_results(findings: Sequence[Findings], plan: ValidationPlan) -> None:
    """Write the page and the tables of what was measured; raises as :func:`validate`."""
    tables: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    sections = [_report(found, plan, tables) for found in findings]
    for name, rows in tables.items():
        write_table(plan.out_dir, name, rows)
    write_page(plan.out_dir, sections, _facts(plan))


def choose_targets(study: Study, to: str | None) -> tuple[str, ...]:
    """Names of the scanners that a study is harmonized to.

    Raises
    ------
    UsageError
        There is no such scanner.
    """
    if to is None:
        return (study.usual_scanner(),)
    if to == EVERY_SCANNER:
        return tuple(study.scanners)
    by_name = {name.lower(): name for name in study.scanners}
    if to.lower() not in by_name:
        raise UsageError(
            f"--to {to}: no {study.modality} image by this scanner; choose from "
            f"{', '.join(study.scanners)}, or {EVERY_SCANNER}."
        )
    return (by_name[to.lower()],)


def _tool_records(study: Study, plan: ValidationPlan) -> list[VolumeRecord]:
    """Volumes that another tool measured before and after.

    Raises
    ------
    BadData
        No row of a file names an image of the study.
    """
    records = []
    tool = None
    for path, method in ((plan.volumes_before, UNTOUCHED), (plan.volumes_after, IHF_HARMONY)):
        if path is None:
            continue
        name, rows = read_tool_volumes(path)
        tool = tool or name
        by_scan = match_scans(rows, study.scans)
        if not by_scan:
            raise BadData(
                f"{path}: no row names one of the {len(study.scans)} {study.modality} images, "
                f"such as {study.scans[0].name}; check the names."
            )
        records += [
            VolumeRecord(scan, method, None, tool, structure, value)
            for scan, volumes in by_scan.items()
            for structure, value in volumes.items()
        ]
    return records


def _report(
    findings: Findings, plan: ValidationPlan, tables: dict[str, list[Row]]
) -> dict[str, Any]:
    """Add the rows of a study to the tables, and return its section of the page."""
    study = findings.study
    rows = participant_rows(plan.bids_dir)
    present = {column for row in rows.values() for column in row}
    asked = plan.covariates
    names = asked if asked != DEFAULT_COVARIATES else [n for n in asked if n in present]
    covariates = Covariates.read(rows, study.people, names)
    records = [*volume_records(findings.outcomes), *_tool_records(study, plan)]
    results: list[TargetResults] = [
        target_results(records, target, covariates) for target in findings.targets
    ]
    study_tables: dict[str, list[Row]] = {
        "pairs": pair_rows(findings),
        "volumes": [row for result in results for row in volume_rows(findings, result)],
        "probes": probe_rows(findings),
        "effects": [
            row for result in results for row in effect_rows(findings, result, covariates)
        ],
        "images": image_rows(findings, _with_combat(records, results)),
    }
    for name, added in study_tables.items():
        tables[name] += added
    return page_section(findings, results, study_tables)


def _with_combat(
    records: Sequence[VolumeRecord], results: Sequence[TargetResults]
) -> list[VolumeRecord]:
    """The records, and those that ComBat added for each target, once each."""
    added = (r for result in results for r in result.records if np.isfinite(r.volume_ml))
    return list(dict.fromkeys([*records, *added]))


def _facts(plan: ValidationPlan) -> dict[str, str]:
    """What the page says of the run."""
    settings = plan.settings
    source = "other people's scans by the source scanner" if settings.source_profiles else "vendor"
    return {
        "Dataset": str(plan.bids_dir),
        "Version": __version__,
        "Preprocessed images": "yes" if settings.preprocessed else "no",
        "Source profile": source,
        "Scans of a person and scanner share a mapping": "yes" if settings.longitudinal else "no",
        "Deformable alignment": "yes" if settings.deformable else "no",
    }
