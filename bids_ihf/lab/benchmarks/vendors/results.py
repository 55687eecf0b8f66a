"""The files of the vendor benchmark: tables with data dictionaries, and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.anatomy.tables import anatomy_tables
from bids_ihf.lab.benchmarks.tables import Table
from bids_ihf.lab.benchmarks.vendors.figures import draw_figures
from bids_ihf.lab.benchmarks.vendors.readout import readout_rows
from bids_ihf.lab.benchmarks.vendors.tables import (
    SUBJECT_COLUMNS,
    VENDOR_COLUMNS,
    aggregate,
)
from bids_ihf.lab.benchmarks.virtual_subjects import FIRST_SEED, SLICE_SPACING_MM
from bids_ihf.lab.comparators.spectrum_swapping import BLOCK_FRACTION
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.vendors.benchmark import Outcome
    from bids_ihf.lab.benchmarks.vendors.plan import Plan

METRIC_CONVENTION = (
    "Both images scaled by the true scan's 0.1-99.9 percentiles in the brain and clipped to "
    "[0, 1]; RMSE and PSNR in the brain; MS-SSIM (window 11, five scales) of whole axial slices. "
    "Columns that end in _own: each image scaled by its own percentiles."
)


def write_results(folder: Path, plan: Plan, outcome: Outcome) -> list[Row]:
    """Write tables, their data dictionaries and the figures.

    Returns the rows of ``benchmark.tsv``.

    Raises
    ------
    CannotWrite
        A file cannot be written.
    """
    rows = aggregate(outcome.rows, seed=plan.seed)
    tables = {
        "benchmark": Table(rows, VENDOR_COLUMNS),
        "benchmark_subjects": Table(outcome.rows, SUBJECT_COLUMNS),
    }
    if plan.anatomy:
        # A read-out of subjects needs two of them.
        readout = readout_rows(outcome.embeddings) if len(plan.subjects) > 1 else []
        tables |= anatomy_tables(outcome.anatomy, readout)
    files = draw_figures(rows, outcome.panels)
    for name, table in tables.items():
        files |= table.files(name, {"Benchmark": run_facts(plan, outcome)})
    for name, content in files.items():
        write_atomic(folder / name, content)
    return rows


def run_facts(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What is needed to understand the results and to reproduce them."""
    return {
        "Convention": METRIC_CONVENTION,
        "Command": command_line(plan),
        "Seed": plan.seed,
        "ScannerSeedsFrom": FIRST_SEED,
        "People": list(plan.subjects),
        "ReferencePeople": list(plan.references),
        "SliceSpacing": SLICE_SPACING_MM,
        "SSIMHReach": BLOCK_FRACTION,
        "Version": __version__,
        "Hashes": outcome.hashes,
    }


def command_line(plan: Plan) -> str:
    """The command line, without the paths of this machine."""
    arguments = ["ihf benchmark LABELS_DIR -o OUT_DIR --people", *plan.subjects]
    arguments += ["--references", *plan.references, "--modalities", *plan.modalities]
    if plan.weights.encoder is not None:
        arguments.append("--model MODEL_DIR")
    for name, path in plan.weights.networks.items():
        if path is not None and name != next(iter(plan.weights.networks)):
            arguments.append(f"--network '{name}={path.name}'")
    for name, paths in plan.weights.comparators.items():
        arguments += [f"--comparator '{name}={path.name}'" for path in paths]
    arguments += ["--anatomy"] if plan.anatomy else []
    return " ".join([*arguments, f"--seed {plan.seed}"])
