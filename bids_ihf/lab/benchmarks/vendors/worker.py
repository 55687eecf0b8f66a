"""What a process of the benchmark does: one person, one modality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_ihf.lab.benchmarks.vendors.cases import Known, cases_of, images_of
from bids_ihf.lab.benchmarks.vendors.example_slices import SHOWN, look_at
from bids_ihf.lab.benchmarks.vendors.methods import REPEAT
from bids_ihf.lab.benchmarks.vendors.plan import label_map, load_networks
from bids_ihf.lab.benchmarks.vendors.references import reference_scans
from bids_ihf.lab.benchmarks.vendors.scores import scores
from bids_ihf.lab.benchmarks.virtual_subjects import AGAIN, cut, load_test_subject, traveling_scans
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_ihf.lab.benchmarks.table import Row
    from bids_ihf.lab.benchmarks.vendors.example_slices import Look
    from bids_ihf.lab.benchmarks.vendors.plan import Plan
    from bids_ihf.lab.benchmarks.vendors.readout import Embedded
    from bids_ihf.lab.benchmarks.vendors.references import Reference
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices
    from bids_ihf.lab.simulation.protocol import Modality


def start_worker() -> None:
    """One thread, the same bits at every run, and no waiting for the kernel to clear pages."""
    import torch

    from bids_ihf.pipeline.process import reuse_freed_memory

    reuse_freed_memory()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)


def scan_reference(plan: Plan, person: str, modality: Modality) -> dict[str, Slices]:
    """A reference person's scan by each vendor's scanner."""
    subject = load_test_subject(label_map(plan, person), person, plan.seed)
    return reference_scans(subject, person, modality, plan.seed)


def measure_person(
    plan: Plan, person: str, modality: Modality, references: Mapping[str, Reference]
) -> tuple[list[dict[str, Any]], list[Look]]:
    """Rows of measures of a person's scans, brought to each vendor by each method, and what the
    figures show of them."""
    from bids_ihf.targets.build import load_target

    subject = load_test_subject(label_map(plan, person), person, plan.seed)
    scans = traveling_scans(subject, person, modality, plan.seed)
    models = load_networks(plan)
    first = next(iter(models.values()))
    known = {
        vendor: Known(references[vendor], load_target(spec, first).profile(modality))
        for vendor, spec in plan.weights.targets.items()
    }
    rows: list[dict[str, Any]] = []
    looks: list[Look] = []
    for target in BUILTIN_VENDORS:
        truth = cut(scans[target])
        repeat = scores(cut(scans[f"{target}{AGAIN}"]).data, truth)
        for case in cases_of(target):
            images = images_of(case, scans, known, models)
            about = {
                "subject": person, "modality": modality,
                "source": case.source, "scanner": case.scanner, "target": target,
            }  # fmt: skip
            scored = {name: scores(image, truth) for name, image in images.items()}
            scored[REPEAT] = repeat
            rows += [{**about, "method": name, **found} for name, found in scored.items()]
            if target == SHOWN:
                looks.append(look_at(case, images, truth, person, modality))
    return rows, looks


def look_into_person(plan: Plan, person: str) -> tuple[list[Row], list[Embedded]]:
    """What harmonization does to a person's anatomy, and the encoder's statistics of the person
    by several scanners."""
    from bids_ihf.lab.benchmarks.anatomy import benchmark as anatomy_benchmark
    from bids_ihf.lab.benchmarks.vendors import readout as readout_benchmark
    from bids_ihf.targets.build import load_target

    path = label_map(plan, person)
    model = next(iter(load_networks(plan).values()))
    targets = {vendor: load_target(spec, model) for vendor, spec in plan.weights.targets.items()}
    subject = load_test_subject(path, person, plan.seed)
    shared: dict[str, Any] = {
        "seed": plan.seed, "model": model, "modalities": plan.modalities, "body": subject,
    }  # fmt: skip
    rows = anatomy_benchmark.measure_person(path, targets=targets, **shared)
    return rows, readout_benchmark.embed_person(path, **shared)
