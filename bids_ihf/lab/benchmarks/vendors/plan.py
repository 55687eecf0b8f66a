"""The plan of a benchmark: whom to measure, with which weights, and whether that can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from bids_ihf.errors import BadData, UsageError
from bids_ihf.lab.benchmarks.vendors.methods import DESCRIPTIONS, SHIPPED
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_ihf.lab.simulation.protocol import Modality
    from bids_ihf.network.checkpoint import ModelBundle

PEOPLE = ("head-13", "head-14", "head-15", "head-16")
"""Heads that the shipped weights have never seen."""

REFERENCES = ("head-01", "head-05", "head-09")
"""Whose scans the simple methods know of a vendor."""


@frozen
class Weights:
    """The encoder and networks under test; None is the shipped file.

    ``targets`` has what :func:`bids_ihf.targets.build.load_target` takes, by vendor.
    """

    encoder: Path | None = None
    networks: Mapping[str, Path | None] = field(factory=lambda: {SHIPPED: None})
    targets: Mapping[str, str] = field(
        factory=lambda: {vendor: vendor for vendor in BUILTIN_VENDORS}
    )


@frozen
class Plan:
    """One benchmark: people to measure, people the simple methods know, weights.

    ``anatomy`` asks whether anatomy is kept and what the encoder's statistics tell, besides.
    """

    labels: Path
    people: tuple[str, ...] = PEOPLE
    references: tuple[str, ...] = REFERENCES
    modalities: tuple[Modality, ...] = ("T1w", "T2w")
    weights: Weights = field(factory=Weights)
    seed: int = 1
    jobs: int = 2
    anatomy: bool = False


def label_map(plan: Plan, person: str) -> Path:
    """The label map of a person."""
    return plan.labels / f"{person}_dseg.nii.gz"


def check(plan: Plan) -> None:
    """Refuse a plan that cannot be carried out.

    Raises
    ------
    BadData
        A label map is missing.
    UsageError
        Somebody would be measured and known at once, or a network takes the name of a method.
    """
    if not plan.labels.is_dir():
        raise BadData(f"{plan.labels}: no such folder; name one with label maps.")
    if not any(plan.labels.glob("*_dseg.nii.gz")):
        raise BadData(f"{plan.labels}: holds no label maps (NAME_dseg.nii.gz); name another.")
    for person in (*plan.people, *plan.references):
        if not label_map(plan, person).is_file():
            raise BadData(
                f"{label_map(plan, person)}: no such label map; "
                "name others with --people and --references."
            )
    both = sorted(set(plan.people) & set(plan.references))
    if both:
        raise UsageError(f"{both[0]} is in --people and in --references; leave it out of one.")
    taken = sorted(set(plan.weights.networks) & (set(DESCRIPTIONS) - {SHIPPED}))
    if taken:
        raise UsageError(f"--network {taken[0]}: a method is called so; choose another name.")


def load_networks(plan: Plan) -> dict[str, ModelBundle]:
    """The networks by name.

    Raises
    ------
    BadData
        A file cannot be used, or belongs to another encoder.
    """
    from bids_ihf.network.checkpoint import load_model

    encoder = plan.weights.encoder
    return {
        name: load_model(path, encoder_path=encoder)
        for name, path in plan.weights.networks.items()
    }


def hashes_of(plan: Plan) -> dict[str, str]:
    """sha256 of encoder, networks and targets; all are read, so that a wrong one is found early.

    Raises
    ------
    BadData
        A file cannot be used.
    UsageError
        A person to measure was in a network's training.
    """
    from bids_ihf.targets.build import load_target

    models = load_networks(plan)
    for name, model in models.items():
        seen = sorted(set(plan.people) & set(model.record.get("people", ())))
        if seen:
            raise UsageError(f"{seen[0]} was in the training of {name}; leave it out of --people.")
    first = next(iter(models.values()))
    found = {"encoder": first.encoder_hash}
    found |= {name: model.hash for name, model in models.items()}
    for vendor, spec in plan.weights.targets.items():
        target = load_target(spec, first)
        for modality in plan.modalities:
            target.profile(modality)
        found[f"target {vendor}"] = target.hash
    return found
