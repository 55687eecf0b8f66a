"""``ihf benchmark``: harmonization of simulated traveling subjects, against other methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from bids_ihf.lab.benchmarks.process_pool import run_tasks, worker_pool
from bids_ihf.lab.benchmarks.vendors.plan import check_plan, file_hashes
from bids_ihf.lab.benchmarks.vendors.reference_scans import pool_references
from bids_ihf.lab.benchmarks.vendors.worker import (
    evaluate_subject,
    evaluate_subject_anatomy,
    scan_reference,
)
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.vendors.example_slices import CasePanel
    from bids_ihf.lab.benchmarks.vendors.plan import Plan
    from bids_ihf.lab.benchmarks.vendors.readout import Embedding
    from bids_ihf.lab.benchmarks.vendors.reference_scans import PooledReference
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices


@frozen(eq=False)
class Outcome:
    """What a benchmark has measured.

    Attributes
    ----------
    rows
        Metrics by subject, scan and method.
    panels
        Cases for the figures.
    hashes
        SHA-256 of weights and targets.
    anatomy, embeddings
        Rows of anatomy preservation, and the encoder's statistics by subject and scanner, if asked
        for.
    """

    rows: list[Row]
    panels: list[CasePanel]
    hashes: dict[str, str]
    anatomy: list[Row] = field(factory=list)
    embeddings: list[Embedding] = field(factory=list)


def run_benchmark(plan: Plan) -> Outcome:
    """Simulate, harmonize and measure, ``plan.jobs`` subjects and modalities at a time.

    Raises
    ------
    BadData, UsageError
        The plan, a label map or a file of weights cannot be used.
    TemporaryFailure
        A process was killed, most likely for lack of memory.
    """
    check_plan(plan)
    hashes = file_hashes(plan)
    with worker_pool(plan.jobs) as pool:
        tasks = [(plan, name, m) for m in plan.modalities for name in plan.references]
        scans = run_tasks(pool, scan_reference, tasks, "Scanned")
        references = _references_by_modality(tasks, scans)
        measured = run_tasks(
            pool,
            evaluate_subject,
            [(plan, name, m, references[m]) for m in plan.modalities for name in plan.subjects],
            "Measured",
        )
        anatomy = run_tasks(
            pool,
            evaluate_subject_anatomy,
            [(plan, name, references) for name in plan.subjects] if plan.anatomy else [],
            "Measured anatomy preservation in",
        )
    return Outcome(
        rows=[row for rows, _ in measured for row in rows],
        panels=[panel for _, panels in measured for panel in panels],
        hashes=hashes,
        anatomy=[row for rows, _ in anatomy for row in rows],
        embeddings=[scan for _, embeddings in anatomy for scan in embeddings],
    )


def _references_by_modality(
    tasks: Sequence[tuple[Plan, str, Modality]], scans: Sequence[dict[str, Slices]]
) -> dict[Modality, dict[str, PooledReference]]:
    """The reference scans of each vendor over all subjects, by modality and vendor."""
    selected: dict[Modality, list[dict[str, Slices]]] = {}
    for (_, _, modality), subject_scans in zip(tasks, scans, strict=True):
        selected.setdefault(modality, []).append(subject_scans)
    return {
        modality: {
            vendor: pool_references([subject_scans[vendor] for subject_scans in all_scans])
            for vendor in BUILTIN_VENDORS
        }
        for modality, all_scans in selected.items()
    }
