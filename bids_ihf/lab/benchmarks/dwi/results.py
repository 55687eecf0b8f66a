"""The files of the diffusion benchmark: tables with data dictionaries, and the figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.dwi.figures import draw_dwi_figure
from bids_ihf.lab.benchmarks.dwi.tables import (
    DWI_COLUMNS,
    SUBJECT_COLUMNS,
    aggregate,
    rounded_rows,
)
from bids_ihf.lab.benchmarks.dwi.traveling_subjects import (
    POOLING_FACTOR,
    SHELL_VOLUMES,
    SLAB_HEIGHT_MM,
)
from bids_ihf.lab.benchmarks.tables import Table
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.lab.benchmarks.dwi.benchmark import DwiOutcome, DwiPlan
    from bids_ihf.lab.benchmarks.tables import Row


def write_dwi_results(folder: Path, plan: DwiPlan, outcome: DwiOutcome) -> list[Row]:
    """Write ``dwi.tsv``, ``dwi_subjects.tsv``, their data dictionaries and the figure.

    Returns the rows of ``dwi.tsv``.

    Raises
    ------
    CannotWrite
        A file cannot be written.
    """
    rows = aggregate(outcome.rows)
    facts = run_facts(plan)
    files = {
        **Table(rounded_rows(rows), DWI_COLUMNS).files("dwi", facts),
        **Table(rounded_rows(outcome.rows), SUBJECT_COLUMNS).files("dwi_subjects", facts),
        "fig-dwi.png": draw_dwi_figure(rows, outcome.panel),
    }
    for name, content in files.items():
        write_atomic(folder / name, content)
    return rows


def run_facts(plan: DwiPlan) -> dict[str, Any]:
    """What is needed to understand the results and to reproduce them."""
    return {
        "People": list(plan.subjects),
        "ReferencePeople": list(plan.references),
        "Seed": plan.seed,
        "VoxelSize": POOLING_FACTOR,
        "SlabHeight": SLAB_HEIGHT_MM,
        "Volumes": {f"b{b:g}": count for b, count in SHELL_VOLUMES.items()},
        "Version": __version__,
    }
