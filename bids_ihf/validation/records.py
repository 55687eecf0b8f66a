"""Volumes as records, one for each image, tool and structure, and their agreement."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from bids_ihf.validation.agreement import (
    Agreement,
    Estimate,
    absolute_difference_percent,
    change_verdict,
    difference_change,
    mean_with_interval,
    measure_agreement,
)
from bids_ihf.validation.combat import fit_combat
from bids_ihf.validation.outcomes import BLURRED, IHF_HARMONY, METHODS, UNTOUCHED, Outcome
from bids_ihf.validation.scans import Scan

LOGGER = logging.getLogger(__name__)

COMBAT, HARMONY_COMBAT = "ComBat", "ihf-harmony and ComBat"
VOLUME_METHODS = {method: METHODS[method] for method in METHODS if method != BLURRED} | {
    COMBAT: "ComBat on the volumes of the images as they are, fitted to other people",
    HARMONY_COMBAT: "ComBat on the volumes of the harmonized images, fitted to other people",
}
"""What was done before volumes were measured, or to the volumes, by the name in the tables."""

MAX_COMBAT_FOLDS = 10
"""People are left out of ComBat's fit one by one, or, of more, in so many groups."""


@frozen
class VolumeRecord:
    """The volume (mL) of a structure in one image; ``target`` is None for images that were not
    harmonized, and where it is not known."""

    scan: Scan
    method: str
    target: str | None
    tool: str
    structure: str
    volume_ml: float


def volume_records(outcomes: Iterable[Outcome]) -> list[VolumeRecord]:
    """The records of all outcomes."""
    return [
        VolumeRecord(outcome.scan, outcome.method, outcome.target, tool, structure, value)
        for outcome in outcomes
        for tool, volumes in outcome.volumes.items()
        for structure, value in volumes.items()
    ]


def for_target(records: Iterable[VolumeRecord], target: str) -> list[VolumeRecord]:
    """The records that belong to a target: its own, and those of no target."""
    return [record for record in records if record.target in (None, target)]


@frozen(eq=False)
class StructureAgreement:
    """Agreement of one structure after one method.

    Attributes
    ----------
    tool, structure, method
        What was measured, and after what.
    images, mean_ml
        Number of images, and mean volume.
    agreement
        Between scanners.
    repeat
        AVDP between repeats by one scanner, %: what harmonization cannot improve on.
    shift
        Mean change of a volume against the untouched image, %.
    change
        Change of AVDP between scanners against the untouched images, percentage points.
    """

    tool: str
    structure: str
    method: str
    images: int
    mean_ml: float
    agreement: Agreement
    repeat: Estimate
    shift: Estimate
    change: Estimate

    @property
    def verdict(self) -> str:
        """Whether the method helped, harmed, or made no clear difference; empty for untouched."""
        return "" if self.method == UNTOUCHED else change_verdict(self.change)


def structure_agreements(records: Sequence[VolumeRecord]) -> list[StructureAgreement]:
    """Agreement of each tool, structure and method, of the records for one target."""
    groups: dict[tuple[str, str], dict[str, dict[Scan, float]]] = {}
    for record in records:
        methods = groups.setdefault((record.tool, record.structure), {})
        methods.setdefault(record.method, {})[record.scan] = record.volume_ml
    return [
        _structure_agreement(tool, structure, method, methods)
        for (tool, structure), methods in groups.items()
        for method in VOLUME_METHODS
        if method in methods
    ]


def _structure_agreement(
    tool: str, structure: str, method: str, methods: dict[str, dict[Scan, float]]
) -> StructureAgreement:
    after, before = methods[method], methods.get(UNTOUCHED, {})
    common = [scan for scan in after if scan in before]
    compared = [_table(values, common) for values in (before, after)]
    shifts = [100 * (after[scan] / before[scan] - 1) for scan in common if before[scan] > 0]
    return StructureAgreement(
        tool=tool,
        structure=structure,
        method=method,
        images=len(after),
        mean_ml=float(np.mean(list(after.values()))),
        agreement=measure_agreement(_table(after, list(after))),
        repeat=mean_with_interval(_repeat_differences(after)),
        shift=mean_with_interval(np.array(shifts)),
        change=difference_change(*compared),
    )


def _table(values: dict[Scan, float], scans: Sequence[Scan]) -> NDArray[np.float64]:
    """Volumes (N, K) of first scans by person and scanner, NaN where there is none."""
    people = sorted({scan.person for scan in scans})
    scanners = sorted({scan.scanner for scan in scans})
    table = np.full((len(people), len(scanners)), np.nan)
    for scan in scans:
        if scan.number == 0:
            table[people.index(scan.person), scanners.index(scan.scanner)] = values[scan]
    return table


def _repeat_differences(values: dict[Scan, float]) -> NDArray[np.float64]:
    """AVDP (N,) between the first and second scan of a person by one scanner."""
    by_key = {(scan.person, scan.scanner, scan.number): value for scan, value in values.items()}
    pairs = [
        (value, by_key[person, scanner, 1])
        for (person, scanner, number), value in by_key.items()
        if number == 0 and (person, scanner, 1) in by_key
    ]
    first, second = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return absolute_difference_percent(first, second)


def combat_records(
    records: Sequence[VolumeRecord], covariates: dict[str, NDArray[np.float64]]
) -> list[VolumeRecord]:
    """ComBat's volumes beside those of the untouched and of the harmonized images.

    Each person's volumes are adjusted by a ComBat that is fitted to other people alone.

    Parameters
    ----------
    records
        Of one target.
    covariates
        Values (C,) by person whose effects are kept, such as age and sex.

    Raises
    ------
    ValueError
        There are too few people for a fit.
    """
    adjusted: list[VolumeRecord] = []
    for method, combined in ((UNTOUCHED, COMBAT), (IHF_HARMONY, HARMONY_COMBAT)):
        chosen = [record for record in records if record.method == method]
        for tool in dict.fromkeys(record.tool for record in chosen):
            of_tool = [record for record in chosen if record.tool == tool]
            new = [
                evolve(record, method=combined, volume_ml=value)
                for record, value in zip(of_tool, _adjust(of_tool, covariates), strict=True)
            ]
            adjusted += new
            measured = {record.structure for record in new if np.isfinite(record.volume_ml)}
            left_out = {record.structure for record in new} - measured
            if left_out:
                LOGGER.warning(
                    "ComBat leaves out what does not vary within scanners, or is not measured in "
                    "all images: %s (%s).", ", ".join(sorted(left_out)), tool,
                )  # fmt: skip
    return adjusted


def _adjust(
    records: Sequence[VolumeRecord], covariates: dict[str, NDArray[np.float64]]
) -> list[float]:
    """Adjusted volumes in the order of records of one method and tool; NaN for scans that lack a
    structure that others have, and for structures that do not vary."""
    structures = list(dict.fromkeys(record.structure for record in records))
    scans = list(dict.fromkeys(record.scan for record in records))
    by_key = {(record.scan, record.structure): record.volume_ml for record in records}
    table = np.array([[by_key.get((s, name), np.nan) for name in structures] for s in scans])
    covariate_rows = np.array([covariates.get(scan.person, np.empty(0)) for scan in scans])
    scanners = np.array([scan.scanner for scan in scans])
    people, person = np.unique([scan.person for scan in scans], return_inverse=True)
    fold = person % min(len(people), MAX_COMBAT_FOLDS)
    complete = np.isfinite(table).all(axis=1)
    fitted = complete & np.array([scan.number == 0 for scan in scans])
    adjusted = np.full_like(table, np.nan)
    for number in range(fold.max() + 1):
        train, test = fitted & (fold != number), complete & (fold == number)
        # Such as the fifth ventricle, of which FreeSurfer finds none in nearly everybody.
        varying = np.flatnonzero(_varies_within(table[train], scanners[train]))
        values = table[:, varying]
        combat = fit_combat(values[train], scanners[train], covariate_rows[train])
        adjusted[np.ix_(test, varying)] = combat.apply(
            values[test], scanners[test], covariate_rows[test]
        )
    rows, columns = ({key: i for i, key in enumerate(keys)} for keys in (scans, structures))
    return [float(adjusted[rows[r.scan], columns[r.structure]]) for r in records]


def _varies_within(table: NDArray[np.float64], scanners: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Whether each structure (columns) varies between the images (rows) of some scanner."""
    groups = [table[scanners == name] for name in np.unique(scanners)]
    return np.any([np.ptp(group, axis=0) > 0 for group in groups], axis=0)
