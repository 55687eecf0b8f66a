"""Whether anatomy is kept, on simulated people with lesions, for every ordered pair of vendors.

Masks and alignment are the known ones; bias is corrected as in a real run, and the vendors are
known.  Not every axial slice goes through the network, so edges and lesions are looked at within
slices.
"""

from __future__ import annotations

import logging
from itertools import product
from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.anatomy.preservation import anatomy_preservation, change_over_repeat
from bids_ihf.lab.benchmarks.anatomy.truth import known_truth
from bids_ihf.lab.benchmarks.metrics.edges import edge_shift
from bids_ihf.lab.benchmarks.metrics.lesions import lesion_retention
from bids_ihf.lab.benchmarks.metrics.tissues import Tissue
from bids_ihf.lab.benchmarks.virtual_subjects import load_test_subject, seed_of, vendor_scanners
from bids_ihf.lab.simulation.virtual_subject import scan_subject
from bids_ihf.targets.source_profile import SourceProfile
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.anatomy.truth import Truth
    from bids_ihf.lab.benchmarks.metrics.edges import EdgeShift
    from bids_ihf.lab.benchmarks.table import Row
    from bids_ihf.lab.simulation.protocol import Modality
    from bids_ihf.lab.simulation.virtual_subject import RegisteredSubject
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.network_input import NetworkInput
    from bids_ihf.targets.profile import Profile
    from bids_ihf.targets.target import Target

LOGGER = logging.getLogger(__name__)

MODALITIES: tuple[Modality, ...] = ("T1w", "T2w")


@frozen(eq=False)
class Visit:
    """A vendor's scan; measured slices (X, Y, S) of it and of a repeat, in its own units; how far
    edges seem to move between the two, and the repeat's profile."""

    grid: NetworkInput
    profile: Profile
    first: NDArray[np.float32]
    again: NDArray[np.float32]
    edges: EdgeShift


def measure_person(
    path: Path,
    *,
    seed: int,
    model: ModelBundle,
    modalities: Sequence[Modality] = MODALITIES,
    targets: Mapping[str, Target] | None = None,
    subject: RegisteredSubject | None = None,
) -> list[Row]:
    """A row for every modality and ordered pair of vendors, own vendors with them.

    Parameters
    ----------
    path
        Label map of a person the model has never seen, ``<name>_dseg.nii.gz``.
    seed
        Draws the person's texture and lesions, the scanners and the noise.
    targets
        By vendor; the built-in ones where none are given.
    subject
        The virtual subject, if already loaded: aligning it takes a third of a minute.

    Raises
    ------
    BadData
        The targets belong to another encoder.
    """
    from bids_ihf.lab.simulation.white_matter_lesions import with_lesions
    from bids_ihf.targets.build import load_target

    targets = targets or {vendor: load_target(vendor, model) for vendor in BUILTIN_VENDORS}
    person = path.name.split("_")[0]
    subject = subject or load_test_subject(path, person, seed)
    anatomy, lesion = with_lesions(subject.anatomy, seed_of(seed, person, "lesions"))
    subject = attrs.evolve(subject, anatomy=anatomy)
    truth = known_truth(subject, lesion)
    rows: list[Row] = []
    for modality in modalities:
        visits = visit_all(subject, person, modality, seed, truth, model)
        for source, target in product(BUILTIN_VENDORS, BUILTIN_VENDORS):
            known = SourceProfile(targets[source].profile(modality))
            profile = targets[target].profile(modality)
            done = harmonized(visits[source].grid, profile, model, truth, known)
            row = compare(visits, source, target, done, truth, modality)
            if source == target:
                row |= own_scanner(visits[source], model, truth)
            about = {"subject": person, "modality": modality, "source": source, "target": target}
            rows.append(about | row)
        LOGGER.info("Measured what becomes of the anatomy of %s, %s", person, modality)
    return rows


def visit_all(
    subject: RegisteredSubject,
    person: str,
    modality: Modality,
    seed: int,
    truth: Truth,
    model: ModelBundle,
) -> dict[str, Visit]:
    """A scan and a repeat by every vendor's scanner."""
    from bids_ihf.targets.network_input import measure_profile

    found = {}
    for vendor, scanner in vendor_scanners(person, modality, seed).items():
        noise = seed_of(seed, person, modality, vendor, "anatomy")
        grid, again = (scan_subject(subject, scanner, noise + number) for number in (0, 1))
        first, repeat = (each.data[..., truth.slices] for each in (grid, again))
        edges = edge_shift(first, repeat, truth.mask)
        found[vendor] = Visit(grid, measure_profile(again, model.encoder), first, repeat, edges)
    return found


def harmonized(
    on_grid: NetworkInput,
    profile: Profile,
    model: ModelBundle,
    truth: Truth,
    source: SourceProfile[Profile] | None = None,
) -> NDArray[np.float32]:
    """The measured slices (X, Y, S) as the product makes them, in the target's units."""
    from bids_ihf.anat.intensity_matching import match_intensities
    from bids_ihf.lab.benchmarks.vendors.methods import through_network

    matched = match_intensities(on_grid, profile, model, source)
    return through_network(matched, model, truth.slices)


def compare(
    visits: Mapping[str, Visit],
    source: str,
    target: str,
    done: NDArray[np.float32],
    truth: Truth,
    modality: Modality,
) -> Row:
    """Measures of one pair of vendors.

    Besides those of :mod:`~bids_ihf.lab.benchmarks.anatomy.preservation`, the limits of any
    harmonization: how far noise alone seems to move edges (``_repeat``), and the lesion contrast
    of the subject's own scan by the target scanner (``_target``).
    """
    ours, theirs = visits[source], visits[target]
    own = ours.again if source == target else None
    preserved = anatomy_preservation(
        ours.first, done, truth.shares, truth.mask, modality, lesion=truth.lesion, repeat=own
    )
    row: Row = dict(preserved.row())
    row |= {f"edge_shift_{name}_repeat": each for name, each in attrs.asdict(ours.edges).items()}
    other = theirs.again if source == target else theirs.first
    if truth.lesion.any():
        pure = truth.pure(Tissue.WHITE), truth.pure(Tissue.GREY)
        seen = lesion_retention(ours.first, other, truth.lesion, *pure)
        row |= {"lesion_kept_target": seen.overall, "lesion_kept_least_target": seen.worst}
    return row


def own_scanner(visit: Visit, model: ModelBundle, truth: Truth) -> Row:
    """How much a scan changes that is brought to its own scanner, known by the repeat."""
    done = harmonized(visit.grid, visit.profile, model, truth)
    change = change_over_repeat(done, visit.first, visit.again, truth.mask)
    return {"own_scanner_change_over_repeat": change}
