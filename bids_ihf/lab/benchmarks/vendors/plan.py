"""The plan of a benchmark: which subjects, modalities and weights, and whether it can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from bids_ihf.errors import BadData, UsageError
from bids_ihf.lab.benchmarks.vendors.methods import IHF_HARMONY, METHOD_DESCRIPTIONS
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.comparators.learned.weights import LoadedComparator
    from bids_ihf.network.checkpoint import ModelBundle

TEST_SUBJECTS = ("head-13", "head-14", "head-15", "head-16")
"""Label maps that were not used in the training of the shipped weights."""

REFERENCE_SUBJECTS = ("head-01", "head-05", "head-09")
"""Label maps whose scans the baselines know of each vendor."""


@frozen
class Weights:
    """The weights under test; None stands for the shipped file.

    Attributes
    ----------
    encoder
        File of the encoder.
    networks
        Files of the networks, by the name in the tables.
    targets
        By vendor, what :func:`bids_ihf.targets.build.load_target` takes.
    comparators
        Files of comparators that were trained, by the name in the tables: one, or one for each
        modality.
    """

    encoder: Path | None = None
    networks: Mapping[str, Path | None] = field(factory=lambda: {IHF_HARMONY: None})
    targets: Mapping[str, str] = field(
        factory=lambda: {vendor: vendor for vendor in BUILTIN_VENDORS}
    )
    comparators: Mapping[str, tuple[Path, ...]] = field(factory=dict)


@frozen
class Plan:
    """One benchmark.

    Attributes
    ----------
    labels
        Folder of label maps.
    subjects
        Label maps that are measured.
    references
        Label maps that the baselines know.
    modalities, weights
        What is measured.
    seed
        Of subjects, scanners and noise.
    jobs
        Number of processes.
    anatomy
        Also measure anatomy preservation and the read-out of the encoder's statistics.
    """

    labels: Path
    subjects: tuple[str, ...] = TEST_SUBJECTS
    references: tuple[str, ...] = REFERENCE_SUBJECTS
    modalities: tuple[Modality, ...] = ("T1w", "T2w")
    weights: Weights = field(factory=Weights)
    seed: int = 1
    jobs: int = 2
    anatomy: bool = False


def label_map(labels: Path, subject: str) -> Path:
    """The label map of a subject in a folder."""
    return labels / f"{subject}_dseg.nii.gz"


def check_subjects(labels: Path, subjects: Sequence[str], references: Sequence[str] = ()) -> None:
    """Refuse subjects without label maps, and those that are measured and known at once.

    Raises
    ------
    BadData
        A label map is missing.
    UsageError
        A subject is both measured and a reference.
    """
    if not labels.is_dir():
        raise BadData(f"{labels}: no such folder; name a folder of label maps.")
    if not any(labels.glob("*_dseg.nii.gz")):
        raise BadData(f"{labels}: contains no label maps (NAME_dseg.nii.gz); name another folder.")
    for subject in (*subjects, *references):
        if not label_map(labels, subject).is_file():
            raise BadData(
                f"{label_map(labels, subject)}: no such label map; "
                "name others with --people and --references."
            )
    duplicates = sorted(set(subjects) & set(references))
    if duplicates:
        raise UsageError(
            f"{duplicates[0]} is in --people and in --references; remove it from one of them."
        )


def check_plan(plan: Plan) -> None:
    """Refuse a plan that cannot be carried out.

    Raises
    ------
    BadData
        A label map is missing.
    UsageError
        A subject is both measured and a reference, or a network has the name of another method.
    """
    check_subjects(plan.labels, plan.subjects, plan.references)
    networks, comparators = set(plan.weights.networks), set(plan.weights.comparators)
    clashes = sorted(networks & (set(METHOD_DESCRIPTIONS) - {IHF_HARMONY}))
    clashes += sorted(comparators & (set(METHOD_DESCRIPTIONS) | networks))
    if clashes:
        raise UsageError(f"{clashes[0]}: another method has this name; choose a different one.")


def load_networks(weights: Weights) -> dict[str, ModelBundle]:
    """The networks by name.

    Raises
    ------
    BadData
        A file cannot be used, or belongs to another encoder.
    """
    from bids_ihf.network.checkpoint import load_model

    return {
        name: load_model(path, encoder_path=weights.encoder)
        for name, path in weights.networks.items()
    }


def load_comparators(weights: Weights, model: ModelBundle) -> dict[str, list[LoadedComparator]]:
    """The comparators of each name.

    Raises
    ------
    BadData
        A file cannot be used, or belongs to another encoder.
    """
    from bids_ihf.lab.comparators.learned.weights import load_comparator

    return {
        name: [load_comparator(path, model.encoder, model.encoder_hash) for path in paths]
        for name, paths in weights.comparators.items()
    }


def file_hashes(plan: Plan) -> dict[str, str]:
    """SHA-256 of encoder, networks, comparators and targets.

    All files are read, so that one that cannot be used is noticed before anything is computed.

    Raises
    ------
    BadData
        A file cannot be used.
    UsageError
        A test subject was used in a network's training.
    """
    from bids_ihf.targets.build import load_target

    models = load_networks(plan.weights)
    first = next(iter(models.values()))
    comparators = load_comparators(plan.weights, first)
    named: list[tuple[str, ModelBundle | LoadedComparator]] = [*models.items()]
    named += [(name, loaded) for name, files in comparators.items() for loaded in files]
    hashes = {"encoder": first.encoder_hash}
    for name, model in named:
        trained = sorted(set(plan.subjects) & set(model.record.get("people", ())))
        if trained:
            raise UsageError(
                f"{trained[0]} was in the training of {name}; remove it from --people."
            )
        hashes[name] = f"{hashes[name]} {model.hash}" if name in hashes else model.hash
    for vendor, name in plan.weights.targets.items():
        target = load_target(name, first)
        for modality in plan.modalities:
            target.profile(modality)
        hashes[f"target {vendor}"] = target.hash
    return hashes
