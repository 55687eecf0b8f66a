"""What a process of the vendor benchmark does: one subject, one modality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_ihf.lab.benchmarks.anatomy.benchmark import evaluate_anatomy
from bids_ihf.lab.benchmarks.anatomy.methods import TrainedMethods
from bids_ihf.lab.benchmarks.vendors.cases import VendorKnowledge, cases_of, harmonize_case
from bids_ihf.lab.benchmarks.vendors.example_slices import FIGURE_TARGET, render_case
from bids_ihf.lab.benchmarks.vendors.methods import REPEAT_SCAN
from bids_ihf.lab.benchmarks.vendors.metrics import image_metrics
from bids_ihf.lab.benchmarks.vendors.plan import label_map, load_comparators, load_networks
from bids_ihf.lab.benchmarks.vendors.readout import embed_subject
from bids_ihf.lab.benchmarks.vendors.reference_scans import scan_reference_subject
from bids_ihf.lab.benchmarks.virtual_subjects import (
    REPEAT_SUFFIX,
    load_test_subject,
    select_slices,
    traveling_scans,
)
from bids_ihf.targets.build import load_target
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.vendors.example_slices import CasePanel
    from bids_ihf.lab.benchmarks.vendors.plan import Plan
    from bids_ihf.lab.benchmarks.vendors.readout import Embedding
    from bids_ihf.lab.benchmarks.vendors.reference_scans import PooledReference
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices
    from bids_ihf.network.checkpoint import ModelBundle


def scan_reference(plan: Plan, name: str, modality: Modality) -> dict[str, Slices]:
    """A reference subject's scan by each vendor's scanner."""
    subject = load_test_subject(label_map(plan.labels, name), name, plan.seed)
    return scan_reference_subject(subject, modality, plan.seed)


def evaluate_subject(
    plan: Plan, name: str, modality: Modality, references: Mapping[str, PooledReference]
) -> tuple[list[Row], list[CasePanel]]:
    """Metrics of a subject's scans, harmonized to each vendor by each method, and their panels."""
    subject = load_test_subject(label_map(plan.labels, name), name, plan.seed)
    scans = traveling_scans(subject, modality, plan.seed)
    models = load_networks(plan.weights)
    first = next(iter(models.values()))
    comparators = load_comparators(plan.weights, first)
    vendors = vendor_knowledge(plan, modality, references, first)
    rows: list[Row] = []
    panels: list[CasePanel] = []
    for target in BUILTIN_VENDORS:
        truth = select_slices(scans[target])
        repeat = image_metrics(select_slices(scans[f"{target}{REPEAT_SUFFIX}"]).data, truth)
        for case in cases_of(target):
            images = harmonize_case(case, scans, vendors, models, comparators)
            row = {
                "subject": name, "modality": modality,
                "source": case.source, "scanner": case.scanner, "target": target,
            }  # fmt: skip
            metrics = {method: image_metrics(image, truth) for method, image in images.items()}
            metrics[REPEAT_SCAN] = repeat
            rows += [{**row, "method": method, **values} for method, values in metrics.items()]
            if target == FIGURE_TARGET:
                panels.append(render_case(case, images, truth, name, modality, tuple(comparators)))
    return rows, panels


def evaluate_subject_anatomy(
    plan: Plan, name: str, references: Mapping[Modality, Mapping[str, PooledReference]]
) -> tuple[list[Row], list[Embedding]]:
    """Anatomy preservation in a subject's scans by each method, and the encoder's statistics of
    the subject by several scanners."""
    subject = load_test_subject(label_map(plan.labels, name), name, plan.seed)
    models = load_networks(plan.weights)
    first = next(iter(models.values()))
    trained = TrainedMethods(models, load_comparators(plan.weights, first))
    vendors = {
        modality: vendor_knowledge(plan, modality, pooled, first)
        for modality, pooled in references.items()
    }
    rows = evaluate_anatomy(subject, vendors, trained, plan.seed)
    return rows, embed_subject(subject, first, plan.modalities, plan.seed)


def vendor_knowledge(
    plan: Plan,
    modality: Modality,
    references: Mapping[str, PooledReference],
    model: ModelBundle,
) -> dict[str, VendorKnowledge]:
    """What the methods know of each vendor."""
    return {
        vendor: VendorKnowledge(references[vendor], load_target(target, model).profile(modality))
        for vendor, target in plan.weights.targets.items()
    }
