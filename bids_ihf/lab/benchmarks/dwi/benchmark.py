"""``ihf benchmark --modality dwi``: the maps that are computed from harmonized series."""

from __future__ import annotations

import logging
from itertools import permutations
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.lab.benchmarks.dwi.map_metrics import map_differences, noddi_mask
from bids_ihf.lab.benchmarks.dwi.maps import noddi_fitter, tensor_maps
from bids_ihf.lab.benchmarks.dwi.methods import (
    NO_HARMONIZATION,
    REPEAT_SCAN,
    harmonize_by_all,
    pool_references,
    reference_series,
)
from bids_ihf.lab.benchmarks.dwi.networks import vendor_networks
from bids_ihf.lab.benchmarks.dwi.traveling_subjects import (
    load_diffusion_subject,
    scan_diffusion_subject,
)
from bids_ihf.lab.benchmarks.vendors.plan import check_subjects, label_map
from bids_ihf.lab.benchmarks.virtual_subjects import REPEAT_SUFFIX, seed_of
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.dwi.place_change import MapNetwork
    from bids_ihf.lab.benchmarks.dwi.maps import Maps, NoddiFitter
    from bids_ihf.lab.benchmarks.dwi.methods import ReferenceSeries
    from bids_ihf.lab.benchmarks.dwi.traveling_subjects import DiffusionScan, DiffusionSubject
    from bids_ihf.lab.benchmarks.tables import Row

LOGGER = logging.getLogger(__name__)

DIFFUSION_TEST_SUBJECTS = ("head-13", "head-14", "head-15", "head-16")
DIFFUSION_REFERENCES = tuple(f"head-{number:02d}" for number in range(1, 12))
"""Whose series the vendors' profiles come from; the other methods know the same ones."""

FIGURE_PAIR = ("GE", "Philips")
"""Source and target of the figure: the pair that differs most."""


@frozen
class DwiPlan:
    """One benchmark: label maps, the subjects to measure and those that the methods know, and the
    folder of a network, if one is measured."""

    labels: Path
    subjects: tuple[str, ...] = DIFFUSION_TEST_SUBJECTS
    references: tuple[str, ...] = DIFFUSION_REFERENCES
    seed: int = 1
    model: Path | None = None


@frozen(eq=False)
class MapPanel:
    """Maps of one subject for FIGURE_PAIR: by method, the target's, and a mask (X, Y, Z)."""

    maps: Mapping[str, Maps]
    target: Maps
    neural: NDArray[np.bool_]


@frozen(eq=False)
class DwiOutcome:
    """Mean absolute error and bias by subject, pair of scanners, method and map; and a panel."""

    rows: list[Row]
    panel: MapPanel


def run_dwi(plan: DwiPlan) -> DwiOutcome:
    """Scan, harmonize and measure all subjects; one subject in memory at a time.

    Raises
    ------
    BadData
        A label map is missing.
    UsageError
        A subject is both measured and a reference.
    """
    check_subjects(plan.labels, plan.subjects, plan.references)
    references = {
        vendor: pool_references(series) for vendor, series in scan_all_references(plan).items()
    }
    networks = {} if plan.model is None else vendor_networks(plan.model)
    rows: list[Row] = []
    panels: list[MapPanel] = []
    with noddi_fitter() as fitter:
        if fitter is None:
            LOGGER.warning("AMICO is not installed, so NDI and ODI are left out.")
        for name in plan.subjects:
            subject = load_diffusion_subject(label_map(plan.labels, name), name, plan.seed)
            scans = scan_diffusion_subject(subject, plan.seed, repeats=True)
            subject_rows, panel = evaluate_diffusion_subject(
                subject, scans, references, fitter, networks
            )
            rows += subject_rows
            panels.append(panel)
            LOGGER.info("%s: measured", name)
    return DwiOutcome(rows, panels[0])


def scan_all_references(plan: DwiPlan) -> dict[str, list[ReferenceSeries]]:
    """The reference series by vendor."""
    series: dict[str, list[ReferenceSeries]] = {vendor: [] for vendor in BUILTIN_VENDORS}
    for name in plan.references:
        subject = load_diffusion_subject(label_map(plan.labels, name), name, plan.seed)
        # Scanners of other seeds than those of the test subjects.
        scans = scan_diffusion_subject(subject, seed_of(plan.seed, "reference"), repeats=False)
        for vendor, scan in scans.items():
            series[vendor].append(reference_series(scan, subject))
        LOGGER.info("%s: reference scanned", name)
    return series


def evaluate_diffusion_subject(
    subject: DiffusionSubject,
    scans: Mapping[str, DiffusionScan],
    references: Mapping[str, ReferenceSeries],
    fitter: NoddiFitter | None,
    networks: Mapping[str, MapNetwork] = MappingProxyType({}),
) -> tuple[list[Row], MapPanel]:
    """Rows of every ordered pair of vendors, method and map, and the panel of FIGURE_PAIR.

    ``networks`` are those to the targets of the vendors.
    """

    def maps_of(scan: DiffusionScan) -> Maps:
        maps = tensor_maps(scan, subject.neural)
        return fitter.add_to(maps, scan, noddi_mask(subject.white)) if fitter else maps

    unharmonized = {name: maps_of(scan) for name, scan in scans.items()}
    rows: list[Row] = []
    for source, target in permutations(BUILTIN_VENDORS, 2):
        series = harmonize_by_all(
            *(scans[source], subject, references[source], references[target]),
            networks.get(target),
        )
        maps = {
            method: unharmonized[source] if method == NO_HARMONIZATION else maps_of(scan)
            for method, scan in series.items()
        }
        maps[REPEAT_SCAN] = unharmonized[target + REPEAT_SUFFIX]
        for method, method_maps in maps.items():
            for name, differences in map_differences(
                method_maps, unharmonized[target], subject.neural, subject.white
            ):
                rows.append(
                    {
                        "subject": subject.name, "source": source, "target": target,
                        "method": method, "map": name,
                        "mae": float(np.abs(differences).mean()),
                        "bias": float(differences.mean()),
                    }
                )  # fmt: skip
        if (source, target) == FIGURE_PAIR:
            panel = MapPanel(maps, unharmonized[target], subject.neural)
        LOGGER.info("%s: %s to %s", subject.name, source, target)
    return rows, panel
