"""Measure every travel by every method, and write the tables."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from bids_ihf.errors import NothingSelected
from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.tables import Column, Table, group_rows
from bids_ihf.lab.benchmarks.travellers.alignment import apply_warp
from bids_ihf.lab.benchmarks.travellers.methods import (
    METHOD_LEVELS,
    bounds_of,
    harmonize_travel,
)
from bids_ihf.lab.benchmarks.travellers.scans import read_scans, travels_of
from bids_ihf.lab.benchmarks.vendors.methods import HISTOGRAM_MATCHING, NO_HARMONIZATION
from bids_ihf.lab.benchmarks.vendors.plan import load_comparators, load_networks
from bids_ihf.qc.similarity import intensity_range, rmse, to_unit_range

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.benchmarks.tables import Row
    from bids_ihf.lab.benchmarks.travellers.methods import Images
    from bids_ihf.lab.benchmarks.travellers.scans import Travel
    from bids_ihf.lab.benchmarks.vendors.plan import Weights
    from bids_ihf.lab.comparators.learned.weights import LoadedComparator
    from bids_ihf.network.checkpoint import ModelBundle

LOGGER = logging.getLogger(__name__)

METRIC_CONVENTION = (
    "RMSE inside the brain that source and truth have in common, both images scaled by the "
    "truth's 0.1 and 99.9 percentiles there ('none': each by its own) and clipped to [0, 1]."
)
METRIC_COLUMNS = {
    "rmse": Column("Root mean square error against the true scan"),
    "rmse_aligned": Column(
        "The same after in-plane deformable alignment of source and truth by local "
        "cross-correlation, one warp for all methods"
    ),
}
TRAVEL_COLUMNS = {
    "subject": Column("Label of the subject who is left out"),
    "modality": Column("Suffix of the images"),
    "source": Column("Scanner of the scan that is harmonized"),
    "target": Column("Scanner it is harmonized to; the truth is the same subject's scan by it"),
    "method": Column("What made the image that is compared with the truth", levels=METHOD_LEVELS),
    **METRIC_COLUMNS,
}
SUMMARY_COLUMNS = {
    **{name: TRAVEL_COLUMNS[name] for name in ("modality", "method")},
    "subjects": Column("Number of subjects"),
    "travels": Column("Number of subjects and ordered pairs of scanners"),
    **METRIC_COLUMNS,
    "ratio": Column("Mean rmse relative to that of histogram matching"),
    "ratio_aligned": Column("Mean rmse_aligned relative to that of histogram matching"),
    "nearer": Column("Travels whose rmse_aligned is below that of histogram matching"),
}


@frozen
class TravelPlan:
    """One benchmark: a BIDS dataset, what of it, and the weights under test."""

    dataset: Path
    modalities: tuple[Modality, ...]
    weights: Weights


def run_travellers(plan: TravelPlan, output: Path) -> list[Row]:
    """Measure, write ``travellers.tsv``, ``travellers_cases.tsv`` and their data dictionaries, and
    return the rows of the former.

    Raises
    ------
    BadData
        An image or the weights cannot be used.
    NothingSelected
        No modality has enough subjects and scanners.
    """
    models = load_networks(plan.weights)
    first = next(iter(models.values()))
    comparators = load_comparators(plan.weights, first)
    rows: list[Row] = []
    for modality in plan.modalities:
        scans = read_scans(plan.dataset, modality, first.encoder)
        for travel in travels_of(scans) if scans else ():
            rows += measure_travel(travel, modality, models, comparators, output)
    if not rows:
        raise NothingSelected(
            f"{plan.dataset}: no {', '.join(plan.modalities)} image by a scanner that the entity "
            "acq or ses names."
        )
    summary = summarize_travels(rows)
    hashes = {name: model.hash for name, model in models.items()}
    facts: dict[str, Any] = {"Convention": METRIC_CONVENTION, "Networks": hashes}
    if comparators:
        facts["Comparators"] = {
            name: [loaded.hash for loaded in files] for name, files in comparators.items()
        }
    tables = {
        "travellers": Table(summary, SUMMARY_COLUMNS),
        "travellers_cases": Table(rows, TRAVEL_COLUMNS),
    }
    for name, table in tables.items():
        for filename, content in table.files(name, facts).items():
            write_atomic(output / filename, content)
    return summary


def measure_travel(
    travel: Travel,
    modality: Modality,
    models: Mapping[str, ModelBundle],
    comparators: Mapping[str, Sequence[LoadedComparator]],
    output: Path,
) -> list[Row]:
    """A row for each method."""
    keys = {
        "subject": travel.source.subject, "modality": modality,
        "source": travel.source.scanner, "target": travel.truth.scanner,
    }  # fmt: skip
    LOGGER.info("sub-%s: %s from %s to %s", *keys.values())
    bounds = bounds_of(travel, output / "bounds" / f"{'_'.join(keys.values())}.npz")
    images = harmonize_travel(travel, bounds, models, comparators)
    errors = travel_errors(travel, images, bounds.warp)
    return [{**keys, "method": method, **values} for method, values in errors.items()]


def travel_errors(
    travel: Travel, images: Images, warp: NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    """METRIC_COLUMNS of images (X, Y, S) by method."""
    slices = travel.slices
    truth = travel.truth.on_grid.data[:, :, slices]
    true_brain, brain = (
        scan.on_grid.brain[:, :, slices] for scan in (travel.truth, travel.source)
    )
    aligned_brain = apply_warp(brain.astype(np.float32), warp) > 0.5
    return {
        method: {
            "rmse": range_error(image, truth, brain & true_brain, own=method == NO_HARMONIZATION),
            "rmse_aligned": range_error(
                apply_warp(image, warp), truth, aligned_brain & true_brain,
                own=method == NO_HARMONIZATION,
            ),
        }
        for method, image in images.items()
    }  # fmt: skip


def range_error(
    image: NDArray[np.floating], truth: NDArray[np.floating], mask: NDArray[np.bool_], *, own: bool
) -> float:
    """RMSE in the truth's range inside a mask; the image in its ``own`` range if that is set."""
    limits = intensity_range(truth, mask)
    scaled = to_unit_range(image[mask], *(intensity_range(image, mask) if own else limits))
    return rmse(scaled, to_unit_range(truth[mask], *limits))


def summarize_travels(rows: Sequence[Row]) -> list[Row]:
    """Means over subjects of their means over pairs of scanners, by modality and method."""
    groups = group_rows(rows, ["modality", "method"])
    table: list[Row] = []
    for (modality, method), group in groups.items():
        matched = groups[modality, HISTOGRAM_MATCHING]
        line: Row = {"modality": modality, "method": method}
        line |= {"subjects": len({row["subject"] for row in group}), "travels": len(group)}
        for name, ratio in (("rmse", "ratio"), ("rmse_aligned", "ratio_aligned")):
            line[name] = subject_mean(group, name)
            line[ratio] = line[name] / subject_mean(matched, name)
        better = [
            a["rmse_aligned"] < b["rmse_aligned"] for a, b in zip(group, matched, strict=True)
        ]
        table.append(line | {"nearer": sum(better)})
    return table


def subject_mean(rows: Sequence[Row], name: str) -> float:
    """Mean over subjects of a column's means over their rows."""
    subjects = group_rows(rows, ["subject"]).values()
    return float(np.mean([np.mean([row[name] for row in group]) for group in subjects]))
