"""``ihf benchmark LABELS_DIR``: simulated traveling subjects, harmonized and measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from bids_ihf.config.values import modality, positive_integer
from bids_ihf.errors import UsageError

if TYPE_CHECKING:
    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.vendors.plan import Plan, Weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf benchmark``."""
    add = parser.add_argument
    add(
        "labels",
        type=Path,
        nargs="?",
        metavar="LABELS_DIR",
        help="label maps, NAME_dseg.nii.gz; not with --travellers",
    )
    add("-o", "--output", type=Path, required=True, metavar="OUT_DIR", help="tables and figures")
    add(
        "--people",
        nargs="+",
        metavar="NAME",
        help="label maps of the test subjects (default: head-13 to head-16)",
    )
    add(
        "--references",
        nargs="+",
        metavar="NAME",
        help="label maps whose scans the other methods know (default: head-01 head-05 head-09; "
        "with dwi head-01 to head-11)",
    )
    add(
        *("--modalities", "--modality"),
        nargs="+",
        type=modality,
        metavar="MOD",
        help="T1w T2w (default), or dwi alone",
    )
    add("--model", type=Path, metavar="DIR", help="weights of 'ihf train' instead of the shipped")
    add(
        "--network",
        nargs="+",
        type=named_file,
        default=[],
        metavar="NAME=FILE",
        help="further networks of the same encoder to measure",
    )
    add(
        "--comparator",
        nargs="+",
        type=named_file,
        default=[],
        metavar="NAME=FILE",
        help="comparators of 'ihf train' to measure; a name may have a file for each modality",
    )
    add("--jobs", type=positive_integer, default=2, metavar="N", help="processes (default: 2)")
    add("--seed", type=int, default=1, metavar="S", help="seed (default: 1)")
    add("--anatomy", action="store_true", help="also measure anatomy preservation")
    add("--brain", action="store_true", help="only measure brain masks and registration")
    add(
        "--ranges",
        action="store_true",
        help="LABELS_DIR is a pool of simulated scans: only measure the reference ranges of the "
        "reports, ranges.json and familiar.safetensors",
    )
    add(
        "--travellers",
        type=Path,
        metavar="DIR",
        help="measure real people instead: a BIDS dataset, preprocessed and in template space, of "
        "at least three subjects on several scanners, told by the entity acq or ses",
    )
    add(
        "--reality",
        type=Path,
        metavar="DATA_DIR",
        help="only compare simulated scans with the real T1w, T2w and FLAIR images of a folder",
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
        metavar="N",
        help="with --ranges: scans of each subject and modality (default: 16); with --reality: "
        "simulated scans of each contrast (default: 200)",
    )
    add("--quick", action="store_true", help="only the first subject and modality")


def named_file(text: str) -> tuple[str, Path]:
    """``NAME=FILE`` of a file that exists."""
    name, _, path = text.partition("=")
    if not (name.strip() and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{path}: no such file")
    return name.strip(), Path(path)


def run(arguments: argparse.Namespace) -> int:
    """Measure, write tables and figures, and print a summary.

    Raises
    ------
    UsageError
        Diffusion is requested together with other modalities, or there is not one input.
    """
    from bids_ihf.pipeline.run_log import start_logging

    # Progress is INFO, and shown without --verbose: a benchmark takes minutes to hours.
    start_logging(arguments.verbose + 1)
    if (arguments.labels is None) == (arguments.travellers is None):
        raise UsageError("Name either LABELS_DIR or --travellers DIR.")
    if arguments.travellers:
        summary = run_travels(arguments)
    elif arguments.reality:
        summary = run_reality(arguments)
    elif arguments.ranges:
        summary = run_ranges(arguments)
    elif "dwi" in (arguments.modalities or ()):
        summary = run_diffusion(arguments)
    elif arguments.brain:
        summary = run_brain(arguments)
    else:
        summary = run_vendors(arguments)
    sys.stdout.write(summary)
    return 0


def run_vendors(arguments: argparse.Namespace) -> str:
    """The benchmark of T1w and T2w scans; the rows over all vendor pairs."""
    from bids_ihf.lab.benchmarks.vendors.benchmark import run_benchmark
    from bids_ihf.lab.benchmarks.vendors.results import write_results
    from bids_ihf.lab.benchmarks.vendors.tables import short_table

    plan = plan_of(arguments)
    return short_table(write_results(arguments.output, plan, run_benchmark(plan)))


def run_diffusion(arguments: argparse.Namespace) -> str:
    """The benchmark of diffusion series; the rows over all vendor pairs."""
    from importlib.util import find_spec

    if set(arguments.modalities) != {"dwi"}:
        raise UsageError("--modalities dwi cannot be combined with others; run them separately.")
    if find_spec("dipy") is None:
        raise UsageError("The diffusion benchmark needs dipy: pip install 'ihf-harmony[dwi]'.")
    from bids_ihf.lab.benchmarks.dwi.benchmark import (
        DIFFUSION_REFERENCES,
        DIFFUSION_TEST_SUBJECTS,
        DwiPlan,
        run_dwi,
    )
    from bids_ihf.lab.benchmarks.dwi.results import write_dwi_results
    from bids_ihf.lab.benchmarks.dwi.tables import short_table

    subjects = tuple(dict.fromkeys(arguments.people or DIFFUSION_TEST_SUBJECTS))
    plan = DwiPlan(
        labels=arguments.labels,
        subjects=subjects[:1] if arguments.quick else subjects,
        references=tuple(dict.fromkeys(arguments.references or DIFFUSION_REFERENCES)),
        seed=arguments.seed,
        model=arguments.model,
    )
    return short_table(write_dwi_results(arguments.output, plan, run_dwi(plan)))


def run_brain(arguments: argparse.Namespace) -> str:
    """The benchmark of brain masks and registration; the rows by condition."""
    from bids_ihf.lab.benchmarks.brain.benchmark import write_brain_results
    from bids_ihf.lab.benchmarks.tables import aligned
    from bids_ihf.lab.benchmarks.vendors.plan import check_plan

    plan = plan_of(arguments)
    check_plan(plan)
    rows = write_brain_results(
        arguments.output, plan.labels, plan.subjects,
        poses=arguments.poses, seed=plan.seed, jobs=plan.jobs,
    )  # fmt: skip
    columns = (
        "condition", "method", "scans", "dice", "dice_least", "hd95_mm", "mask_s", "align_s",
    )  # fmt: skip
    return aligned(rows, columns)


def run_travels(arguments: argparse.Namespace) -> str:
    """The benchmark on real traveling subjects; the means by modality and method."""
    from bids_ihf.bids.names import ANATOMICAL_MODALITIES
    from bids_ihf.lab.benchmarks.tables import aligned
    from bids_ihf.lab.benchmarks.travellers.benchmark import TravelPlan, run_travellers

    modalities = tuple(dict.fromkeys(arguments.modalities or ANATOMICAL_MODALITIES))
    if "dwi" in modalities:
        raise UsageError("--travellers measures T1w, T2w and FLAIR; leave dwi out.")
    weights = weights_of(arguments)
    plan = TravelPlan(
        arguments.travellers, modalities[:1] if arguments.quick else modalities, weights
    )
    rows = run_travellers(plan, arguments.output)
    columns = ("modality", "method", "rmse", "ratio", "rmse_aligned", "ratio_aligned", "nearer")
    return aligned(rows, columns)


def run_reality(arguments: argparse.Namespace) -> str:
    """Compare simulated scans with real ones; the measures with real values outside."""
    from bids_ihf.lab.benchmarks.reality.benchmark import SIMULATED_SCANS, write_reality
    from bids_ihf.lab.benchmarks.tables import aligned

    ranges = write_reality(
        arguments.output, arguments.reality, arguments.labels,
        count=arguments.scans or SIMULATED_SCANS, seed=arguments.seed, jobs=arguments.jobs,
    )  # fmt: skip
    outside = [row for row in ranges if row["outside"]]
    columns = (
        "contrast", "voxels", "measure", "real_scans", "real_min", "real_max", "simulated_low",
        "simulated_high", "below", "above", "outside",
    )  # fmt: skip
    return aligned(outside, columns)


def run_ranges(arguments: argparse.Namespace) -> str:
    """Measure the scans of a training pool for the reports; the ranges."""
    from bids_ihf.lab.benchmarks.reference_ranges import SCANS_PER_SUBJECT, write_ranges
    from bids_ihf.lab.benchmarks.tables import aligned
    from bids_ihf.lab.benchmarks.vendors.plan import load_networks

    model = next(iter(load_networks(plan_of(arguments).weights).values()))
    ranges = write_ranges(
        arguments.output,
        arguments.labels,
        model,
        scans_per_subject=arguments.scans or SCANS_PER_SUBJECT,
    )
    rows: list[Row] = [
        {"modality": modality, "measure": name, **attrs.asdict(values)}
        for modality, measures in ranges.modalities.items()
        for name, values in measures.items()
    ]
    return aligned(rows, tuple(rows[0]))


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan that the options describe."""
    from bids_ihf.lab.benchmarks.vendors.plan import REFERENCE_SUBJECTS, TEST_SUBJECTS, Plan

    subjects = tuple(dict.fromkeys(arguments.people or TEST_SUBJECTS))
    modalities = tuple(dict.fromkeys(arguments.modalities or ("T1w", "T2w")))
    if arguments.quick:
        subjects, modalities = subjects[:1], modalities[:1]
    return Plan(
        labels=arguments.labels,
        subjects=subjects,
        references=tuple(dict.fromkeys(arguments.references or REFERENCE_SUBJECTS)),
        modalities=modalities,
        weights=weights_of(arguments),
        seed=arguments.seed,
        jobs=arguments.jobs,
        anatomy=arguments.anatomy,
    )


def weights_of(arguments: argparse.Namespace) -> Weights:
    """Weights of a folder that ``ihf train`` wrote, or the shipped ones, with further networks and
    comparators.

    A folder without an encoder belongs to the shipped one.
    """
    from bids_ihf.lab.benchmarks.vendors.methods import IHF_HARMONY
    from bids_ihf.lab.benchmarks.vendors.plan import Weights
    from bids_ihf.targets.target import BUILTIN_VENDORS

    networks = dict(arguments.network)
    comparators: dict[str, tuple[Path, ...]] = {}
    for name, path in arguments.comparator:
        comparators[name] = (*comparators.get(name, ()), path)
    folder = arguments.model
    if folder is None:
        return Weights(networks={IHF_HARMONY: None, **networks}, comparators=comparators)
    encoder = folder / "encoder.safetensors"
    return Weights(
        encoder=encoder if encoder.is_file() else None,
        networks={IHF_HARMONY: folder / "network.safetensors", **networks},
        targets={
            vendor: str(folder / f"target-{vendor.lower()}.safetensors")
            for vendor in BUILTIN_VENDORS
        },
        comparators=comparators,
    )
