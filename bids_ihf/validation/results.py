"""The rows of all tables, from what was measured."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from bids_ihf.bids.sidecars import to_json
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tsv import Cell, to_tsv
from bids_ihf.validation.agreement import Estimate
from bids_ihf.validation.effects import Covariates, estimate_effect
from bids_ihf.validation.features import FEATURE_MEANINGS, HEAD_SHAPE
from bids_ihf.validation.measuring import Findings
from bids_ihf.validation.outcomes import METHODS, UNTOUCHED, Outcome
from bids_ihf.validation.probes import Probe, probe_scanner
from bids_ihf.validation.records import (
    VOLUME_METHODS,
    StructureAgreement,
    VolumeRecord,
    combat_records,
    for_target,
    structure_agreements,
)

Row = dict[str, Cell]

LOGGER = logging.getLogger(__name__)

COLUMNS: dict[str, dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("columns.json").read_text(encoding="utf-8")
)
"""Data dictionaries of the tables, their columns in order."""

METHOD_LEVELS = METHODS | VOLUME_METHODS


@frozen(eq=False)
class TargetResults:
    """What is said of one target: agreement of volumes, and why ComBat was not used, if so."""

    target: str
    agreements: tuple[StructureAgreement, ...]
    records: tuple[VolumeRecord, ...]
    combat_problem: str | None


def target_results(
    records: Iterable[VolumeRecord], target: str, covariates: Covariates
) -> TargetResults:
    """Agreement of volumes for one target, ComBat's included."""
    chosen = for_target(records, target)
    problem = None
    try:
        chosen += combat_records(chosen, covariates.complete)
    except ValueError as error:
        problem = str(error)
    return TargetResults(target, tuple(structure_agreements(chosen)), tuple(chosen), problem)


def pair_rows(findings: Findings) -> list[Row]:
    """A row for each pair of images and method."""
    return [
        {
            "modality": findings.study.modality,
            "participant_id": f"sub-{outcome.scan.person}",
            "source_scanner": outcome.scan.scanner,
            "target_scanner": outcome.target,
            "source": outcome.scan.name,
            "truth": outcome.truth.name,
            "method": outcome.method,
            **outcome.metrics,
        }
        for outcome in findings.outcomes
        if outcome.truth is not None and outcome.metrics
    ]


def volume_rows(findings: Findings, results: TargetResults) -> list[Row]:
    """A row for each tool, structure and method."""
    return [
        {
            "modality": findings.study.modality,
            "target_scanner": results.target,
            "tool": row.tool,
            "structure": row.structure,
            "method": row.method,
            "images": row.images,
            "people": row.agreement.people,
            "mean_ml": row.mean_ml,
            **_interval("avdp", row.agreement.difference),
            "avdp_repeat": row.repeat.value,
            **_interval("cov", row.agreement.variation),
            **_interval("icc_agreement", row.agreement.absolute),
            **_interval("icc_consistency", row.agreement.consistent),
            "icc_people": row.agreement.icc_people,
            "icc_scanners": row.agreement.icc_scanners,
            **(_interval("shift", row.shift) if row.method != UNTOUCHED else {}),
            **(_interval("avdp_change", row.change) if row.method != UNTOUCHED else {}),
            "verdict": row.verdict or None,
        }
        for row in results.agreements
    ]


def probe_rows(findings: Findings) -> list[Row]:
    """A row for each method and kind of features that a classifier names the scanner by."""
    groups: dict[tuple[str, str | None], list[Outcome]] = {}
    for outcome in findings.outcomes:
        if outcome.features and outcome.scan.number == 0:
            groups.setdefault((outcome.method, outcome.target), []).append(outcome)
    rows: list[Row] = []
    for (method, target), members in groups.items():
        people, scanners = (
            np.array([getattr(outcome.scan, key) for outcome in members])
            for key in ("person", "scanner")
        )
        for name in FEATURE_MEANINGS:
            if name == HEAD_SHAPE and method != UNTOUCHED:
                continue
            features = np.stack([outcome.features[name] for outcome in members])
            probe = probe_scanner(features, scanners, people)
            if probe is not None:
                keys: Row = {"modality": findings.study.modality, "target_scanner": target}
                rows.append(keys | {"method": method, "features": name} | _probe_cells(probe))
    return rows


def _probe_cells(probe: Probe) -> Row:
    return {
        **_interval("accuracy", probe.accuracy),
        "chance": probe.chance,
        "permuted": probe.permuted,
        "images": probe.images,
        "people": probe.people,
        "scanners": probe.scanners,
    }


def effect_rows(findings: Findings, results: TargetResults, covariates: Covariates) -> list[Row]:
    """A row for each column, tool, structure and method, where there are people enough."""
    groups: dict[tuple[str, str, str], list[VolumeRecord]] = {}
    for record in results.records if covariates.names else ():
        if record.scan.number == 0:
            key = (record.tool, record.structure, record.method)
            groups.setdefault(key, []).append(record)
    rows: list[Row] = []
    for (tool, structure, method), members in groups.items():
        volumes = np.array([record.volume_ml for record in members])
        people = np.array([record.scan.person for record in members])
        table = np.array([covariates.values[record.scan.person] for record in members])
        for index, (column, unit) in enumerate(
            zip(covariates.names, covariates.units, strict=True)
        ):
            further = np.delete(table, index, axis=1)
            effect = estimate_effect(volumes, table[:, index], further, people)
            if effect is not None:
                keys: Row = {"modality": findings.study.modality, "target_scanner": results.target}
                keys |= {"tool": tool, "structure": structure, "method": method}
                keys |= {"column": column, "unit": unit, **_interval("effect", effect.slope)}
                rows.append(keys | {"p_value": effect.p_value, "people": effect.people})
    return rows


def image_rows(findings: Findings, records: Iterable[VolumeRecord]) -> list[Row]:
    """A row for each volume of each image."""
    return [
        {
            "modality": findings.study.modality,
            "filename": record.scan.name,
            "participant_id": f"sub-{record.scan.person}",
            "scanner": record.scan.scanner,
            "target_scanner": record.target,
            "method": record.method,
            "tool": record.tool,
            "structure": record.structure,
            "volume_ml": record.volume_ml,
        }
        for record in records
    ]


def write_table(out_dir: Path, name: str, rows: Sequence[Row]) -> Path:
    """Write ``validation_<name>.tsv`` with its data dictionary, and return its path.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    columns = {key: dict(entry) for key, entry in COLUMNS[name].items()}
    present = {str(row["method"]) for row in rows}
    if "method" in columns:
        levels = {key: text for key, text in METHOD_LEVELS.items() if key in present}
        columns["method"]["Levels"] = levels
    if "features" in columns:
        columns["features"]["Levels"] = FEATURE_MEANINGS
    path = out_dir / f"validation_{name}.tsv"
    write_atomic(path.with_suffix(".json"), to_json(columns))
    write_atomic(path, to_tsv(list(columns), rows))
    return path


def _interval(name: str, estimate: Estimate) -> Row:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
