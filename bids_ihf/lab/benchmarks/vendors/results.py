"""The files of a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_ihf.lab.benchmarks.vendors.tables import (
    COLUMNS,
    SUBJECT_COLUMNS,
    aggregate,
    dictionary,
    to_tsv,
)
from bids_ihf.lab.benchmarks.virtual_subjects import FIRST_SEED, SPACING
from bids_ihf.lab.comparators.spectrum import REACH
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.lab.benchmarks.table import Row
    from bids_ihf.lab.benchmarks.vendors.benchmark import Outcome
    from bids_ihf.lab.benchmarks.vendors.plan import Plan

CONVENTION = (
    "Both images scaled by the true scan's 0.1-99.9 percentiles in the brain and clipped to "
    "[0, 1]; RMSE and PSNR in the brain; MS-SSIM (window 11, five scales) of whole axial slices. "
    "Columns that end in _own: each image scaled by its own percentiles."
)


def write_results(folder: Path, plan: Plan, outcome: Outcome) -> list[Row]:
    """Write tables, their dictionaries and the figures; returns the rows of ``benchmark.tsv``.

    Raises
    ------
    CannotWrite
        A file cannot be written.
    """
    from bids_ihf.io.atomic import write_atomic
    from bids_ihf.lab.benchmarks.anatomy.tables import anatomy_files
    from bids_ihf.lab.benchmarks.vendors.figures import draw_figures
    from bids_ihf.lab.benchmarks.vendors.readout import readout_rows

    table = aggregate(outcome.rows, seed=plan.seed)
    about = circumstances(plan, outcome)
    files = {
        "benchmark.tsv": to_tsv(table, COLUMNS),
        "benchmark.json": dictionary(COLUMNS, about),
        "benchmark_subjects.tsv": to_tsv(outcome.rows, SUBJECT_COLUMNS),
        "benchmark_subjects.json": dictionary(SUBJECT_COLUMNS, about),
        **draw_figures(table, outcome.looks),
    }
    if plan.anatomy:
        # One person cannot be told from others.
        told = readout_rows(outcome.embedded) if len(plan.people) > 1 else []
        files |= anatomy_files(outcome.anatomy, told, about)
    for name, content in files.items():
        write_atomic(folder / name, content)
    return table


def circumstances(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What a reader needs to know, or to do it again."""
    return {
        "Convention": CONVENTION,
        "Command": command(plan),
        "Seed": plan.seed,
        "ScannerSeedsFrom": FIRST_SEED,
        "People": list(plan.people),
        "ReferencePeople": list(plan.references),
        "SliceSpacing": SPACING,
        "SSIMHReach": REACH,
        "Version": __version__,
        "Hashes": outcome.hashes,
    }


def command(plan: Plan) -> str:
    """The command line, without the paths of this machine."""
    words = ["ihf benchmark LABELS_DIR -o OUT_DIR --people", *plan.people]
    words += ["--references", *plan.references, "--modalities", *plan.modalities]
    if plan.weights.encoder is not None:
        words.append("--model MODEL_DIR")
    for name, path in plan.weights.networks.items():
        if path is not None and name != next(iter(plan.weights.networks)):
            words.append(f"--network '{name}={path.name}'")
    words += ["--anatomy"] if plan.anatomy else []
    return " ".join([*words, f"--seed {plan.seed}"])
