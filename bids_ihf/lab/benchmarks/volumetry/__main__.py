"""Whether volumes agree between scanners after harmonization, and real change survives it.

Usage: python -m bids_ihf.lab.benchmarks.volumetry change LABELS_DIR -o docs/results
           [--people head-13 ...] [--percents -5 5]
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.tables import aligned
from bids_ihf.lab.benchmarks.volumetry.change import ChangePlan, measure_changes
from bids_ihf.lab.benchmarks.volumetry.change_tables import change_tables
from bids_ihf.lab.benchmarks.volumetry.label_changes import STRUCTURES
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_ihf.lab.benchmarks.tables import Table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the benchmarks, write its tables, and print the first."""
    typed = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(typed)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    set_up_process(seed=0)
    tables = options.run(options)
    command = f"python -m bids_ihf.lab.benchmarks.volumetry {' '.join(typed)}"
    facts = {"Command": command, "Seed": options.seed, "Version": __version__}
    write_tables(options.output, tables, facts)
    first = next(iter(tables.values()))
    sys.stdout.write(aligned(first.rows, tuple(first.columns)))


def write_tables(folder: Path, tables: Mapping[str, Table], facts: Mapping[str, object]) -> None:
    """Write each table with its data dictionary, which ends with ``facts``."""
    for name, table in tables.items():
        for file, content in table.files(name, facts).items():
            write_atomic(folder / file, content)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bids_ihf.lab.benchmarks.volumetry")
    commands = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)
    change = commands.add_parser("change", help="structures that grow or shrink between visits")
    change.add_argument("data", type=Path, metavar="LABELS_DIR", help="NAME_dseg.nii.gz")
    change.add_argument("--people", nargs="+", metavar="NAME", default=["head-13", "head-14"])
    change.add_argument("--references", nargs="+", metavar="NAME", default=["head-01", "head-05"])
    change.add_argument("--structures", nargs="+", choices=STRUCTURES, default=list(STRUCTURES))
    change.add_argument(
        "--percents", nargs="+", type=float, metavar="P", default=[-5.0, -2.0, -1.0, 1.0, 2.0, 5.0]
    )
    change.set_defaults(run=_change)
    for command in (change,):
        command.add_argument("-o", "--output", type=Path, required=True, metavar="OUT_DIR")
        command.add_argument(
            "--records", type=Path, metavar="DIR",
            help="what was measured already (default: OUT_DIR/records)",
        )  # fmt: skip
        command.add_argument("--seed", type=int, default=1, metavar="S")
    return parser


def _change(options: argparse.Namespace) -> dict[str, Table]:
    plan = ChangePlan(
        labels=options.data,
        people=tuple(options.people),
        references=tuple(options.references),
        structures=tuple(options.structures),
        percents=tuple(options.percents),
        seed=options.seed,
        records=options.records or options.output / "records",
    )
    return change_tables(measure_changes(plan))


if __name__ == "__main__":
    main()
