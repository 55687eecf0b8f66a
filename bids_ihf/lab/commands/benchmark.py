"""``ihf benchmark LABELS_DIR``: simulated traveling people, harmonized and measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from bids_ihf.config.values import modality, positive_integer
from bids_ihf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.lab.benchmarks.table import Row
    from bids_ihf.lab.benchmarks.vendors.plan import Plan, Weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf benchmark``."""
    add = parser.add_argument
    add("labels", type=Path, metavar="LABELS_DIR", help="label maps, NAME_dseg.nii.gz")
    add("-o", "--output", type=Path, required=True, metavar="OUT_DIR", help="tables and figures")
    add("--people", nargs="+", metavar="NAME", help="to measure (default: head-13 to head-16)")
    add(
        "--references",
        nargs="+",
        metavar="NAME",
        help="whose scans the simple methods know (default: head-01 head-05 head-09; with dwi "
        "head-01 to head-11)",
    )
    add(
        *("--modalities", "--modality"),
        nargs="+",
        type=modality,
        metavar="MOD",
        help="T1w T2w (default), or dwi alone",
    )
    add("--model", type=Path, metavar="DIR", help="output of 'ihf train' to use, not the shipped")
    add(
        "--network",
        nargs="+",
        type=named_file,
        default=[],
        metavar="NAME=FILE",
        help="further networks of the same encoder to measure",
    )
    add("--jobs", type=positive_integer, default=2, metavar="N", help="processes (default: 2)")
    add("--seed", type=int, default=1, metavar="S", help="seed (default: 1)")
    add("--anatomy", action="store_true", help="also tell whether anatomy is kept")
    add("--brain", action="store_true", help="measure brain masks and alignment, nothing else")
    add(
        "--ranges",
        action="store_true",
        help="LABELS_DIR is the pool of 'ihf train': only measure what reports hold images "
        "against, ranges.json and familiar.safetensors",
    )
    add(
        "--poses",
        type=positive_integer,
        default=500,
        metavar="N",
        help="with --brain: heads in random poses (default: 500)",
    )
    add(
        "--scans",
        type=positive_integer,
        default=16,
        metavar="N",
        help="with --ranges: scans of each person and modality (default: 16)",
    )
    add("--quick", action="store_true", help="only the first person and modality")


def named_file(text: str) -> tuple[str, Path]:
    """``NAME=FILE``, the file being there."""
    name, _, path = text.partition("=")
    if not (name.strip() and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{path}: no such file")
    return name.strip(), Path(path)


def run(given: argparse.Namespace) -> int:
    """Measure, write tables and figures, and show the rows over all vendor pairs.

    Raises
    ------
    UsageError
        Diffusion is asked for together with other modalities.
    """
    if given.ranges:
        return run_ranges(given)
    if "dwi" in (given.modalities or ()):
        return run_diffusion(given)
    from bids_ihf.lab.benchmarks.vendors.benchmark import run_benchmark
    from bids_ihf.lab.benchmarks.vendors.results import write_results
    from bids_ihf.pipeline.run_log import start_logging

    # Progress is INFO; whoever waits for minutes wants to see it without asking.
    start_logging(given.verbose + 1)
    plan = plan_of(given)
    if given.brain:
        return run_brain(plan, given.output, given.poses)
    table = write_results(given.output, plan, run_benchmark(plan))
    sys.stdout.write(short_table(table))
    return 0


def run_diffusion(given: argparse.Namespace) -> int:
    """The benchmark of diffusion series."""
    if set(given.modalities) != {"dwi"}:
        raise UsageError("--modalities dwi goes alone; run the others by themselves.")
    require_dipy()
    from bids_ihf.lab.benchmarks.dwi.benchmark import PEOPLE, REFERENCES, DwiPlan, run_dwi
    from bids_ihf.lab.benchmarks.dwi.results import short_text, write_dwi_results
    from bids_ihf.pipeline.run_log import start_logging

    start_logging(given.verbose + 1)
    people = tuple(dict.fromkeys(given.people or PEOPLE))
    plan = DwiPlan(
        labels=given.labels,
        people=people[:1] if given.quick else people,
        references=tuple(dict.fromkeys(given.references or REFERENCES)),
        seed=given.seed,
    )
    sys.stdout.write(short_text(write_dwi_results(given.output, plan, run_dwi(plan))))
    return 0


def require_dipy() -> None:
    """Raise UsageError where dipy, which makes the maps, is not installed."""
    from importlib.util import find_spec

    if find_spec("dipy") is None:
        raise UsageError("The diffusion benchmark needs dipy: pip install 'ihf-harmony[dwi]'.")


def run_brain(plan: Plan, output: Path, poses: int) -> int:
    """Measure brain masks and alignment, and show the rows by condition."""
    from bids_ihf.lab.benchmarks.brain.benchmark import write_brain_results
    from bids_ihf.lab.benchmarks.vendors.plan import check

    check(plan)
    table = write_brain_results(
        output, plan.labels, plan.people, poses=poses, seed=plan.seed, jobs=plan.jobs
    )
    head = ("condition", "method", "scans", "dice", "dice_least", "hd95_mm", "mask_s", "align_s")
    sys.stdout.write(aligned(table, head))
    return 0


def run_ranges(given: argparse.Namespace) -> int:
    """Measure the scans of a training pool for the reports, and show the ranges."""
    from bids_ihf.lab.benchmarks.reference_ranges import write_ranges
    from bids_ihf.lab.benchmarks.vendors.plan import load_networks
    from bids_ihf.pipeline.run_log import start_logging

    start_logging(given.verbose + 1)
    model = next(iter(load_networks(plan_of(given)).values()))
    ranges = write_ranges(given.output, given.labels, model, scans=given.scans)
    head = ("modality", "measure", "low", "middle", "high")
    rows: list[Row] = [
        {"modality": modality, "measure": name, **attrs.asdict(found)}
        for modality, measures in ranges.modalities.items()
        for name, found in measures.items()
    ]
    sys.stdout.write(aligned(rows, head))
    return 0


def plan_of(given: argparse.Namespace) -> Plan:
    """The plan that the options describe."""
    from bids_ihf.lab.benchmarks.vendors.plan import PEOPLE, REFERENCES, Plan

    people = tuple(dict.fromkeys(given.people or PEOPLE))
    modalities = tuple(dict.fromkeys(given.modalities or ("T1w", "T2w")))
    if given.quick:
        people, modalities = people[:1], modalities[:1]
    return Plan(
        labels=given.labels,
        people=people,
        references=tuple(dict.fromkeys(given.references or REFERENCES)),
        modalities=modalities,
        weights=weights_of(given.model, dict(given.network)),
        seed=given.seed,
        jobs=given.jobs,
        anatomy=given.anatomy,
    )


def weights_of(folder: Path | None, more: dict[str, Path]) -> Weights:
    """Weights of a folder that ``ihf train`` wrote, or the shipped ones, and further networks.

    A folder without an encoder belongs to the shipped one.
    """
    from bids_ihf.lab.benchmarks.vendors.methods import SHIPPED
    from bids_ihf.lab.benchmarks.vendors.plan import Weights
    from bids_ihf.targets.target import BUILTIN_VENDORS

    if folder is None:
        return Weights(networks={SHIPPED: None, **more})
    encoder = folder / "encoder.safetensors"
    return Weights(
        encoder=encoder if encoder.is_file() else None,
        networks={SHIPPED: folder / "network.safetensors", **more},
        targets={v: str(folder / f"target-{v.lower()}.safetensors") for v in BUILTIN_VENDORS},
    )


def short_table(table: list[Row]) -> str:
    """The groups of pairs as aligned text."""
    from bids_ihf.lab.benchmarks.vendors.tables import ALL

    head = ("modality", "source", "method", "rmse", "psnr", "ms_ssim", "rmse_own", "ms_ssim_own")
    return aligned([row for row in table if row["target"] == ALL], head)


def aligned(rows: list[Row], head: Sequence[str]) -> str:
    """Chosen columns as aligned text."""
    lines = [list(head)]
    lines += [
        [row[name] if isinstance(row[name], str) else f"{row[name]:.4g}" for name in head]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(text) + "\n"
