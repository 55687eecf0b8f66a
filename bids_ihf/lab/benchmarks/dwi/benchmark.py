"""The diffusion benchmark: what harmonization does to the maps that are computed from a series."""

from __future__ import annotations

import logging
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.dwi.maps import noddi, tensor_maps
from bids_ihf.lab.benchmarks.dwi.methods import NONE, REPEAT, Sample, pool, results, sample
from bids_ihf.lab.benchmarks.dwi.scores import score, thinned
from bids_ihf.lab.benchmarks.dwi.travelers import (
    AGAIN,
    load_diffusion_subject,
    scan_diffusion_subject,
)
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.dwi.maps import Maps, Noddi
    from bids_ihf.lab.benchmarks.dwi.methods import Knowledge
    from bids_ihf.lab.benchmarks.dwi.travelers import DiffusionSubject, Scan

LOGGER = logging.getLogger(__name__)

PEOPLE = ("head-13", "head-14", "head-15", "head-16")
REFERENCES = tuple(f"head-{number:02d}" for number in range(1, 12))
"""Whose series the vendors' profiles come from; the other methods know the same ones."""

SHOWN = ("GE", "Philips")
"""The pair that the figure shows: the one that differs most."""


@frozen
class DwiPlan:
    """One benchmark: label maps, people to measure, people the methods know."""

    labels: Path
    people: tuple[str, ...] = PEOPLE
    references: tuple[str, ...] = REFERENCES
    seed: int = 1


@frozen
class DwiRow:
    """One person, pair of scanners, method and map: mean absolute and mean difference."""

    subject: str
    source: str
    target: str
    method: str
    map: str
    mae: float
    bias: float


@frozen(eq=False)
class DwiLook:
    """Maps (X, Y, Z) of one person by method, for the pair SHOWN, the target's, and a mask."""

    found: Mapping[str, Maps]
    target: Maps
    neural: NDArray[np.bool_]


@frozen(eq=False)
class DwiOutcome:
    """All rows, and a look at the first person."""

    rows: tuple[DwiRow, ...]
    look: DwiLook


def run_dwi(plan: DwiPlan) -> DwiOutcome:
    """Scan, harmonize and measure everybody; one person in memory at a time.

    Raises
    ------
    BadData
        A label map is missing.
    UsageError
        Somebody is both measured and known.
    """
    check(plan)
    known = knowledge(plan)
    rows: list[DwiRow] = []
    looks: list[DwiLook] = []
    with noddi() as fitter:
        if fitter is None:
            LOGGER.warning("AMICO is not installed, so NDI and ODI are left out.")
        for name in plan.people:
            person = load_diffusion_subject(_path(plan, name), name, plan.seed)
            scans = scan_diffusion_subject(person, plan.seed, again=True)
            rows += measure_person(person, scans, known, fitter, looks)
            LOGGER.info("%s: measured", name)
    return DwiOutcome(tuple(rows), looks[0])


def check(plan: DwiPlan) -> None:
    """Refuse a plan that cannot be carried out, as the anatomical benchmark does."""
    from bids_ihf.lab.benchmarks.vendors.plan import Plan
    from bids_ihf.lab.benchmarks.vendors.plan import check as check_plan

    check_plan(Plan(plan.labels, plan.people, plan.references))


def _path(plan: DwiPlan, name: str) -> Path:
    return plan.labels / f"{name}_dseg.nii.gz"


def knowledge(plan: DwiPlan) -> dict[str, Knowledge]:
    """What the methods know of each vendor's scanner, from the reference people's series."""
    return {vendor: pool(found) for vendor, found in all_samples(plan).items()}


def all_samples(plan: DwiPlan) -> dict[str, list[Sample]]:
    """What is kept of the reference people's series by each vendor."""
    samples: dict[str, list[Sample]] = {vendor: [] for vendor in BUILTIN_VENDORS}
    for name in plan.references:
        for vendor, one in reference_samples(plan, name).items():
            samples[vendor].append(one)
        LOGGER.info("%s: reference scanned", name)
    return samples


def reference_samples(plan: DwiPlan, name: str) -> dict[str, Sample]:
    """What is kept of a person's series by each vendor; scanners of other seeds than those of the
    people who are measured."""
    person = load_diffusion_subject(_path(plan, name), name, plan.seed)
    scans = scan_diffusion_subject(person, seed_of(plan.seed, "reference"), again=False)
    return {vendor: sample(scan, person) for vendor, scan in scans.items()}


def measure_person(
    person: DiffusionSubject,
    scans: dict[str, Scan],
    known: dict[str, Knowledge],
    fitter: Noddi | None,
    looks: list[DwiLook],
) -> Iterator[DwiRow]:
    """Rows of one person: every ordered pair of vendors, every method; ``looks`` grows."""

    def maps(scan: Scan) -> Maps:
        found = tensor_maps(scan, person.neural)
        return fitter.add_to(found, scan, thinned(person.white)) if fitter else found

    own = {name: maps(scan) for name, scan in scans.items()}
    for source, target in permutations(BUILTIN_VENDORS, 2):
        done = results(scans[source], person, known[source], known[target])
        found = {
            method: own[source] if method == NONE else maps(scan) for method, scan in done.items()
        }
        found[REPEAT] = own[target + AGAIN]
        for method, each in found.items():
            yield from _rows(person, (source, target, method), each, own[target])
        if (source, target) == SHOWN:
            looks.append(DwiLook(found, own[target], person.neural))
        LOGGER.info("%s: %s to %s", person.name, source, target)


def _rows(
    person: DiffusionSubject, about: tuple[str, str, str], found: Maps, truth: Maps
) -> Iterator[DwiRow]:
    for name, differences in score(found, truth, person.neural, person.white):
        mae, bias = float(np.abs(differences).mean()), float(differences.mean())
        yield DwiRow(person.name, *about, name, mae, bias)


ALL = "all"


def aggregate(rows: Sequence[DwiRow]) -> list[DwiRow]:
    """Means over people of each pair, then over all pairs (source and target ``all``).

    The bias of ``all`` is the mean of the sizes of the pairs' biases: those of a pair and of its
    reverse would cancel.
    """
    pairs = _means(rows, lambda row: (row.source, row.target, row.method, row.map))
    sizes = [DwiRow("", r.source, r.target, r.method, r.map, r.mae, abs(r.bias)) for r in pairs]
    return pairs + _means(sizes, lambda row: (ALL, ALL, row.method, row.map))


Name = tuple[str, str, str, str]


def _means(rows: Sequence[DwiRow], key: Callable[[DwiRow], Name]) -> list[DwiRow]:
    groups: dict[Name, list[DwiRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [
        DwiRow(
            "",
            *name,
            float(np.mean([row.mae for row in group])),
            float(np.mean([row.bias for row in group])),
        )
        for name, group in groups.items()
    ]
