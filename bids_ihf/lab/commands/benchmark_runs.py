"""What ``ihf benchmark`` runs for its options; every run returns a summary to print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from bids_ihf.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.vendors.plan import Plan, Weights


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
