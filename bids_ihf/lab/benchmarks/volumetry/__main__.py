"""Whether volumes agree between scanners after harmonization, and real change survives it.

Usage: python -m bids_ihf.lab.benchmarks.volumetry travelers LABELS_DIR -o docs/results
           [--people head-13 ...] [--averaged 2] [--segmenter FILE]
       python -m bids_ihf.lab.benchmarks.volumetry change LABELS_DIR -o docs/results
           [--people head-13 ...] [--percents -5 5]
       python -m bids_ihf.lab.benchmarks.volumetry steps LABELS_DIR -o docs/results
           [--people head-13 ...]
       python -m bids_ihf.lab.benchmarks.volumetry age IXI_DIR -o docs/results [--people 20]
       python -m bids_ihf.lab.benchmarks.volumetry sites SLICES_DIR -o docs/results

Files that are made on the way are under --records; 'change' and 'steps' go on where they were
stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bids_ihf.config.values import positive_integer
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.tables import aligned
from bids_ihf.lab.benchmarks.volumetry.age import AgePlan, measure_age
from bids_ihf.lab.benchmarks.volumetry.change import ChangePlan, measure_changes
from bids_ihf.lab.benchmarks.volumetry.change_tables import change_tables
from bids_ihf.lab.benchmarks.volumetry.label_changes import STRUCTURES
from bids_ihf.lab.benchmarks.volumetry.sites import measure_sites
from bids_ihf.lab.benchmarks.volumetry.steps import measure_steps
from bids_ihf.lab.benchmarks.volumetry.travelers import TravelersPlan, measure_travelers
from bids_ihf.lab.benchmarks.volumetry.visits import VisitsPlan
from bids_ihf.network.checkpoint import load_model
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
    write_tables(options.output, tables, _facts(options))
    first = next(iter(tables.values()))
    rows = [
        {name: "n/a" if row.get(name) is None else row[name] for name in first.columns}
        for row in first.rows
    ]
    sys.stdout.write(aligned(rows, tuple(first.columns)))


def _facts(options: argparse.Namespace) -> dict[str, object]:
    """What the tables say of the run: all options but folders and files."""
    chosen = {
        name: value
        for name, value in vars(options).items()
        if name not in ("benchmark", "run") and not isinstance(value, Path | None)
    }
    command = f"python -m bids_ihf.lab.benchmarks.volumetry {options.benchmark}"
    model = load_model(None, device="cpu").hash
    return {"Command": command, "Options": chosen, "ModelHash": model, "Version": __version__}


def write_tables(folder: Path, tables: Mapping[str, Table], facts: Mapping[str, object]) -> None:
    """Write each table with its data dictionary, which ends with ``facts``."""
    for name, table in tables.items():
        for file, content in table.files(name, facts).items():
            write_atomic(folder / file, content)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bids_ihf.lab.benchmarks.volumetry")
    commands = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)
    travelers = commands.add_parser("travelers", help="people on a scanner of each vendor, twice")
    travelers.add_argument("data", type=Path, metavar="LABELS_DIR", help="NAME_dseg.nii.gz")
    travelers.add_argument(
        "--people", nargs="+", metavar="NAME",
        default=["head-13", "head-14", "head-15", "head-16"],
    )  # fmt: skip
    travelers.add_argument(
        "--averaged", type=positive_integer, default=1, metavar="N",
        help="voxels of the label maps that make one of the scans, along each axis (default: 1)",
    )  # fmt: skip
    travelers.add_argument(
        "--segmenter", type=Path, metavar="FILE",
        help="Python program SEGMENTER OUT.tsv IMAGE... that measures volumes, in mL",
    )  # fmt: skip
    travelers.set_defaults(run=_travelers)
    change = commands.add_parser("change", help="structures that grow or shrink between visits")
    change.add_argument("data", type=Path, metavar="LABELS_DIR", help="NAME_dseg.nii.gz")
    steps = commands.add_parser("steps", help="which step moves volumes between scanners")
    steps.add_argument("data", type=Path, metavar="LABELS_DIR", help="NAME_dseg.nii.gz")
    steps.set_defaults(run=_steps)
    for command in (change, steps):
        command.add_argument("--people", nargs="+", metavar="NAME", default=["head-13", "head-14"])
        command.add_argument(
            "--references", nargs="+", metavar="NAME", default=["head-01", "head-05"]
        )
    change.add_argument("--structures", nargs="+", choices=STRUCTURES, default=list(STRUCTURES))
    change.add_argument(
        "--percents", nargs="+", type=float, metavar="P", default=[-5.0, -2.0, -1.0, 1.0, 2.0, 5.0]
    )
    change.set_defaults(run=_change)
    age = commands.add_parser("age", help="effects of age, half of the people on another scanner")
    age.add_argument("data", type=Path, metavar="DIR", help="participants.tsv, t1/ID_T1w.nii.gz")
    age.add_argument("--people", type=positive_integer, metavar="N", help="default: all")
    age.set_defaults(run=_age)
    sites = commands.add_parser("sites", help="can a classifier name the site of a real slice")
    sites.add_argument("data", type=Path, metavar="DIR", help="T1/PERSON-SITE-NUMBER-T1.nii.gz")
    sites.set_defaults(run=_sites)
    for command in (travelers, change, steps, age, sites):
        command.add_argument("-o", "--output", type=Path, required=True, metavar="OUT_DIR")
        command.add_argument(
            "--records", type=Path, metavar="DIR",
            help="files made on the way (default: OUT_DIR/records)",
        )  # fmt: skip
        command.add_argument("--seed", type=int, default=1, metavar="S")
    return parser


def _age(options: argparse.Namespace) -> dict[str, Table]:
    records = options.records or options.output / "records"
    return measure_age(AgePlan(options.data, options.people, options.seed, records))


def _sites(options: argparse.Namespace) -> dict[str, Table]:
    return measure_sites(options.data, options.records or options.output / "records")


def _travelers(options: argparse.Namespace) -> dict[str, Table]:
    return measure_travelers(
        TravelersPlan(
            labels=options.data,
            people=tuple(options.people),
            averaged=options.averaged,
            segmenter=options.segmenter,
            seed=options.seed,
            records=options.records or options.output / "records",
        )
    )


def _steps(options: argparse.Namespace) -> dict[str, Table]:
    return measure_steps(
        VisitsPlan(
            labels=options.data,
            people=tuple(options.people),
            references=tuple(options.references),
            seed=options.seed,
            records=options.records or options.output / "records",
        )
    )


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
