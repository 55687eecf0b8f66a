"""The files of the diffusion benchmark: tables with their dictionary, and the figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from bids_ihf.lab.benchmarks.dwi.benchmark import ALL, aggregate
from bids_ihf.lab.benchmarks.dwi.methods import DESCRIPTIONS
from bids_ihf.lab.benchmarks.dwi.scores import DIRECTION, VOXELS
from bids_ihf.lab.benchmarks.dwi.travelers import FACTOR, SHELLS, SLAB_MM
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_ihf.lab.benchmarks.dwi.benchmark import DwiOutcome, DwiPlan, DwiRow

COLUMNS = ("source", "target", "method", "map", "mae", "bias")
ABOUT = {
    "source": "Vendor whose series is harmonized; 'all' for the mean over all ordered pairs",
    "target": "Vendor that it is harmonized to; 'all' likewise",
    "method": DESCRIPTIONS,
    "map": (
        "FA, MD (1e-3 mm2/s), NDI, ODI: means of regions of 12 mm, in nervous tissue (FA, MD) or "
        f"white matter of every third slice (NDI, ODI); with '{VOXELS}': single voxels; "
        f"'{DIRECTION}': angle between principal directions in white matter, degrees"
    ),
    "mae": "Mean absolute difference to the map of the same person's series by the target",
    "bias": "Mean difference; for 'all' the mean size of the pairs' biases",
    "subject": "Simulated person",
}


def write_dwi_results(folder: Path, plan: DwiPlan, outcome: DwiOutcome) -> list[DwiRow]:
    """Write ``dwi.tsv``, ``dwi_subjects.tsv``, their dictionaries and the figure.

    Returns the rows of ``dwi.tsv``.

    Raises
    ------
    CannotWrite
        A file cannot be written.
    """
    from bids_ihf.bids.sidecars import to_json
    from bids_ihf.io.atomic import write_atomic
    from bids_ihf.lab.benchmarks.dwi.figures import draw

    table = aggregate(outcome.rows)
    facts = circumstances(plan)
    files = {
        "dwi.tsv": to_tsv(table, COLUMNS),
        "dwi.json": to_json({name: {"Description": ABOUT[name]} for name in COLUMNS} | facts),
        "dwi_subjects.tsv": to_tsv(outcome.rows, ("subject", *COLUMNS)),
        "dwi_subjects.json": to_json(
            {name: {"Description": ABOUT[name]} for name in ("subject", *COLUMNS)} | facts
        ),
        "fig-dwi.png": draw(table, outcome.look),
    }
    for name, content in files.items():
        write_atomic(folder / name, content)
    return table


def circumstances(plan: DwiPlan) -> dict[str, Any]:
    """What a reader needs to know, or to do it again."""
    return {
        "People": list(plan.people),
        "ReferencePeople": list(plan.references),
        "Seed": plan.seed,
        "VoxelSize": FACTOR,
        "SlabHeight": SLAB_MM,
        "Volumes": {f"b{b:g}": count for b, count in SHELLS.items()},
        "Version": __version__,
    }


def to_tsv(rows: Sequence[DwiRow], columns: Sequence[str]) -> bytes:
    """Rows as tab-separated text, numbers with four digits."""
    lines = [list(columns)]
    for row in rows:
        values = attrs.asdict(row)
        lines.append([_text(values[name]) for name in columns])
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def short_text(rows: Sequence[DwiRow]) -> str:
    """The rows over all pairs as aligned text."""
    head = ("method", "map", "mae", "bias")
    lines = [list(head)]
    for row in rows:
        if row.source == ALL:
            values = attrs.asdict(row)
            lines.append([_text(values[name]) for name in head])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )
