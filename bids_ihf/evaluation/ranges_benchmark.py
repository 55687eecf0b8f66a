"""``ihf benchmark --ranges``: the measures of simulated scans, against which those of real ones
are held."""

from __future__ import annotations

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bids_ihf import __version__
from bids_ihf.evaluation.familiar import FILE as FAMILIAR
from bids_ihf.evaluation.familiar import Reference, gather, pack_reference
from bids_ihf.evaluation.people import seed_of
from bids_ihf.evaluation.ranges import BAD_SIDE, FILE, Ranges, range_of, to_dict
from bids_ihf.spatial.prepare import deterministic
from bids_ihf.targets.target import VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bids_ihf.evaluation.people import Body
    from bids_ihf.evaluation.plan import Plan
    from bids_ihf.simulation.protocol import Modality
    from bids_ihf.simulation.scanner import Scanner
    from bids_ihf.spatial.prepare import Prepared
    from bids_ihf.targets.profile import Profile

LOGGER = logging.getLogger(__name__)

OTHERS = 4
"""Scanners far from any vendor's, others for each person."""


@frozen(eq=False)
class Seen:
    """One simulated scan: of whom, by which scanner, its statistics; its measures after it was
    harmonized, where it was."""

    person: str
    scanner: str
    modality: str
    profile: Profile
    measures: dict[str, float]


def write_ranges(folder: Path, plan: Plan, known: Sequence[str]) -> Ranges:
    """Measure, and write ``ranges.json`` and ``familiar.safetensors``.

    ``known`` are the people whose scans count as seen in training; those of the plan, whom the
    network has never seen, are harmonized and measured.

    Raises
    ------
    BadData, UsageError
        The plan, a label map or the weights cannot be used.
    CannotCreate
        A file cannot be written.
    """
    from bids_ihf.bids.sidecar import to_json
    from bids_ihf.bids.write import write_atomic
    from bids_ihf.evaluation.plan import check, hashes_of

    check(plan)
    hashes = hashes_of(plan)
    scans = scan_everyone(plan, known)
    record = {
        "version": __version__,
        "people": list(plan.people),
        "known_people": list(known),
        "scanners": [*VENDORS, *(f"other {number + 1}" for number in range(OTHERS))],
        "seed": plan.seed,
        "hashes": hashes,
    }
    reference, ranges = evaluate(scans, hashes["encoder"], record)
    write_atomic(folder / FAMILIAR, pack_reference(reference))
    write_atomic(folder / FILE, to_json(to_dict(ranges)))
    return ranges


def evaluate(
    scans: Sequence[Seen], encoder: str, record: dict[str, Any]
) -> tuple[Reference, Ranges]:
    """Known scans and ranges from what was seen."""
    modalities, familiar = {}, {}
    for modality in dict.fromkeys(scan.modality for scan in scans):
        own = [scan for scan in scans if scan.modality == modality]
        known, scores = gather([scan.profile for scan in own], [scan.person for scan in own])
        familiar[modality] = known
        values = {name: [s.measures[name] for s in own if name in s.measures] for name in BAD_SIDE}
        values["out_of_range_score"] = scores
        found = {name: range_of(each) for name, each in values.items()}
        modalities[modality] = {name: each for name, each in found.items() if each is not None}
    counts = {f"{name}_scans": len(known.scans) for name, known in familiar.items()}
    record = record | counts
    return Reference(encoder, familiar, record), Ranges(modalities, record)


def scan_everyone(plan: Plan, known: Sequence[str]) -> list[Seen]:
    """All scans of all people, ``jobs`` people at a time."""
    deterministic(1)  # for the processes, which inherit the environment
    people = [*plan.people, *(person for person in known if person not in plan.people)]
    found: list[Seen] = []
    with ProcessPoolExecutor(plan.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for person, seen in zip(
            people, pool.map(measure_person, repeat(plan), people), strict=True
        ):
            found += seen
            LOGGER.info("Measured %s (%d scans)", person, len(seen))
    return found


def measure_person(plan: Plan, person: str) -> list[Seen]:
    """The scans of one person by all scanners; of a person of the plan harmonized and measured."""
    import torch

    from bids_ihf.evaluation.people import load_body
    from bids_ihf.evaluation.plan import label_map

    torch.set_num_threads(1)
    body = load_body(label_map(plan, person), person, plan.seed)
    found = []
    for modality in plan.modalities:
        for number, (name, scanner) in enumerate(scanners_of(person, modality, plan.seed)):
            noise = seed_of(plan.seed, person, modality, name, "ranges")
            target = VENDORS[number % len(VENDORS)]
            prepared = scan_prepared(body, scanner, noise)
            profile, measures = _measure(plan, prepared, modality, target, person in plan.people)
            found.append(Seen(person, name, modality, profile, measures))
    return found


def scanners_of(person: str, modality: Modality, seed: int) -> Iterable[tuple[str, Scanner]]:
    """A scanner of each vendor with the person's small changes, and OTHERS, all the person's."""
    from bids_ihf.evaluation.people import vendor_scanners
    from bids_ihf.simulation.scanner import random_scanner

    yield from vendor_scanners(person, modality, seed).items()
    for number in range(OTHERS):
        name = f"other {number + 1}"
        yield name, random_scanner(modality, seed_of(seed, person, modality, name, "ranges"))


def scan_prepared(body: Body, scanner: Scanner, noise_seed: int) -> Prepared:
    """One scan, corrected for bias on a coarse grid, with the known mask and alignment."""
    from bids_ihf.simulation.scanner import scan
    from bids_ihf.spatial.bias import bias_field
    from bids_ihf.training.simulated import BIAS_GRID, as_prepared, calibrated

    affine = body.anatomy.affine
    image = scan(body.anatomy, scanner, noise_seed)
    image /= bias_field(image, affine, body.brain, shrink=BIAS_GRID)
    image = calibrated(image, body.anatomy, scanner)
    return as_prepared(image, body.brain, body.segmentation, body.to_template, body.path, affine)


def _measure(
    plan: Plan, prepared: Prepared, modality: Modality, target: str, harmonized: bool
) -> tuple[Profile, dict[str, float]]:
    from bids_ihf.evaluation.plan import load_networks
    from bids_ihf.evaluation.quality import image_measures
    from bids_ihf.harmonize.structural import harmonize
    from bids_ihf.targets.build import load_target
    from bids_ihf.targets.gridding import profile_of, to_network_grid

    model = next(iter(load_networks(plan).values()))
    if not harmonized:
        return profile_of(to_network_grid(prepared), model.encoder), {}
    profile = load_target(plan.weights.targets[target], model).profile(modality)
    result = harmonize(prepared, profile, model)
    measures = {"distance_after": result.distance_after, **image_measures(result.evidence)}
    return result.evidence.before, measures
