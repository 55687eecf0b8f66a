"""``ihf benchmark LABELS_DIR --reality DATA_DIR``: are simulated scans like real ones?"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bids_ihf.errors import BadData, HarmonyError
from bids_ihf.io.atomic import make_folder, write_atomic
from bids_ihf.lab.benchmarks.process_pool import run_tasks, worker_pool
from bids_ihf.lab.benchmarks.reality.figures import draw_densities
from bids_ihf.lab.benchmarks.reality.measures import measure_scan
from bids_ihf.lab.benchmarks.reality.ranges import reality_tables
from bids_ihf.lab.benchmarks.reality.real_scans import find_scans, load_slices
from bids_ihf.lab.benchmarks.reality.simulated_scans import simulated_rows
from bids_ihf.lab.benchmarks.reality.tissue_classes import find_tissues
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bids_ihf.lab.benchmarks.reality.real_scans import RealScan
    from bids_ihf.lab.benchmarks.tables import Row

LOGGER = logging.getLogger(__name__)

SIMULATED_SCANS = 200
"""Default number of simulated scans of each contrast."""

CACHE_FOLDER = "prepared"
"""Folder beside the tables with the slices of real scans, which take half a minute each."""


def write_reality(
    folder: Path, data_dir: Path, labels_dir: Path, *, count: int, seed: int, jobs: int
) -> list[Row]:
    """Measure real scans and ``count`` simulated ones a contrast; write tables and figures.

    Returns the ranges of ``reality_ranges.tsv``.

    Raises
    ------
    BadData
        There are no real scans, or no label maps.
    CannotWrite
        A file cannot be written.
    """
    scans = find_scans(data_dir)
    labels = sorted(labels_dir.glob("*_dseg.nii.gz"))
    if not labels:
        raise BadData(f"{labels_dir}: has no label maps, NAME_dseg.nii.gz.")
    make_folder(folder / CACHE_FOLDER)
    with worker_pool(jobs) as pool:
        tasks = [(scan, folder / CACHE_FOLDER, scan.path.name) for scan in scans]
        real = [row for row in run_tasks(pool, real_row, tasks, "Measured") if row]
        plan = list(simulation_tasks(labels, real, count, seed))
        simulated = run_tasks(pool, simulated_rows, plan, "Simulated")
    rows = real + [row for rows in simulated for row in rows]
    facts = {
        "Command": "ihf benchmark LABELS_DIR --reality DATA_DIR -o OUT_DIR "
                   f"--scans {count} --seed {seed}",
        "Seed": seed,
        "Version": __version__,
    }  # fmt: skip
    tables = reality_tables(rows)
    for name, table in tables.items():
        for filename, content in table.files(name, {"Benchmark": facts}).items():
            write_atomic(folder / filename, content)
    for contrast in dict.fromkeys(row["contrast"] for row in real):
        write_atomic(folder / f"fig-reality-{contrast}.png", draw_densities(rows, contrast))
    return list(tables["reality_ranges"].rows)


def real_row(scan: RealScan, cache: Path, name: str) -> Row | None:
    """The row of a real scan; None, with a warning, where it cannot be measured."""
    try:
        slices = load_slices(scan, cache)
        tissues = None
        if slices.voxel_class == "slice" and scan.t1w is not None:
            # T2w and FLAIR of one slice tell grey from white matter badly; the T1w does.
            t1w = load_slices(scan.t1w_scan(), cache)
            if t1w.raw.shape == slices.raw.shape:
                tissues = find_tissues(t1w)
        measured = measure_scan(slices, tissues)
    except HarmonyError as error:
        LOGGER.warning("Not measured: %s", error)
        return None
    return {
        "scan": name, "source": "real", "dataset": scan.dataset, "contrast": scan.modality,
        "voxels": slices.voxel_class, **measured,
    }  # fmt: skip


def simulation_tasks(
    labels: Sequence[Path], real: Sequence[Row], count: int, seed: int
) -> Iterator[tuple[Path, str, tuple[str, ...], range, int]]:
    """Arguments of `simulated_rows`: the label maps in turn, in the classes of real scans."""
    for contrast in dict.fromkeys(row["contrast"] for row in real):
        classes = tuple(
            dict.fromkeys(row["voxels"] for row in real if row["contrast"] == contrast)
        )
        for index, path in enumerate(labels):
            numbers = range(index, count, len(labels))
            if numbers:
                yield path, contrast, classes, numbers, seed
