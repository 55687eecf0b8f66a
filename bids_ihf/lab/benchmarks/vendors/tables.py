"""Tables of the vendor benchmark: medians over subjects with intervals, and all subjects' rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from bids_ihf.lab.benchmarks.bootstrap import BOOTSTRAP_SAMPLES, CONFIDENCE_LEVEL, summarize
from bids_ihf.lab.benchmarks.tables import Column, aligned, group_rows
from bids_ihf.lab.benchmarks.vendors.cases import OFF_RANGE_GROUP, SAME_SCANNER
from bids_ihf.lab.benchmarks.vendors.methods import METHOD_DESCRIPTIONS
from bids_ihf.lab.benchmarks.vendors.metrics import METRIC_COLUMNS, RANGE_SCALED_COLUMNS
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bids_ihf.lab.benchmarks.tables import Row

ALL_VENDORS = "all vendors"

INTERVAL_METRICS = ("rmse", "psnr", "ms_ssim")
"""Metrics that are given with their bootstrap interval."""

_TRUE_RANGE = (
    "both images scaled by the true scan's 0.1 and 99.9 percentiles in the brain, clipped"
)
_SELF_RANGE = "each image scaled by its own 0.1 and 99.9 percentiles in the brain, clipped"

SUBJECT_COLUMNS: dict[str, Column] = {
    "subject": Column("Label map of the simulated subject"),
    "modality": Column("T1w, T2w or FLAIR"),
    "source": Column(
        "Scanner of the scan that is harmonized: one of a vendor's population, off-range (far "
        "from any vendor's), the target's own, or a group of them"
    ),
    "scanner": Column("The scan; there are two off-range scanners for each subject"),
    "target": Column(
        "Vendor the scan is harmonized to; the truth is the same subject's scan by its typical "
        "scanner"
    ),
    "method": Column(
        "What made the image that is compared with the truth", levels=METHOD_DESCRIPTIONS
    ),
    "rmse": Column(f"Root mean square error in the brain; {_TRUE_RANGE}", "1"),
    "psnr": Column(f"PSNR in the brain, data range 1; {_TRUE_RANGE}", "dB"),
    "ms_ssim": Column(f"Multiscale SSIM of whole axial slices; {_TRUE_RANGE}", "1"),
    "rmse_frame": Column(f"Root mean square error, whole slices; {_TRUE_RANGE}", "1"),
    "psnr_frame": Column(f"PSNR of whole slices, data range 1; {_TRUE_RANGE}", "dB"),
    "rmse_own": Column(f"Root mean square error in the brain; {_SELF_RANGE}", "1"),
    "psnr_own": Column(f"PSNR in the brain, data range 1; {_SELF_RANGE}", "dB"),
    "ms_ssim_own": Column(f"Multiscale SSIM of whole axial slices; {_SELF_RANGE}", "1"),
}


def _median_columns() -> Iterator[tuple[str, Column]]:
    """Columns of the medians over subjects, with intervals of INTERVAL_METRICS."""
    for name in ("modality", "source", "target", "method"):
        yield name, SUBJECT_COLUMNS[name]
    yield "subjects", Column("Number of subjects")
    for name in (*METRIC_COLUMNS, *RANGE_SCALED_COLUMNS):
        column = SUBJECT_COLUMNS[name]
        yield name, attrs.evolve(column, description=f"{column.description}; median over subjects")
        for bound, label in (("low", "Lower"), ("high", "Upper")):
            if name in INTERVAL_METRICS:
                yield (
                    f"{name}_{bound}",
                    Column(
                        f"{label} end of the {CONFIDENCE_LEVEL} % bootstrap interval of {name} "
                        f"({BOOTSTRAP_SAMPLES} resamplings of subjects)"
                    ),
                )


VENDOR_COLUMNS = dict(_median_columns())


def aggregate(rows: Sequence[Row], *, seed: int) -> list[Row]:
    """Rows of COLUMNS from those of SUBJECT_COLUMNS: each pair, then the groups of pairs.

    A subject's rows (two off-range scanners, the pairs of a group) are averaged first; then the
    median over subjects is taken, with a bootstrap interval.
    """
    table: list[Row] = []
    for (modality,), selected in group_rows(rows, ["modality"]).items():
        for source, target, group in _groups(selected):
            pair = {"modality": modality, "source": source, "target": target}
            table += [pair | line for line in _summarized(group, seed)]
    return table


def _groups(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    for (source, target), pair in group_rows(rows, ["source", "target"]).items():
        yield source, target, pair
    vendors = [row for row in rows if row["source"] in BUILTIN_VENDORS]
    yield ALL_VENDORS, ALL_VENDORS, vendors
    yield OFF_RANGE_GROUP, ALL_VENDORS, [row for row in rows if row["source"] == OFF_RANGE_GROUP]
    yield SAME_SCANNER, ALL_VENDORS, [row for row in rows if row["source"] == SAME_SCANNER]


def _summarized(rows: Sequence[Row], seed: int) -> Iterator[Row]:
    summaries = summarize(rows, (*METRIC_COLUMNS, *RANGE_SCALED_COLUMNS), seed=seed)
    for method, metrics in summaries.items():
        subjects = len({row["subject"] for row in rows if row["method"] == method})
        line: Row = {"method": method, "subjects": subjects}
        line |= {name: summary.median for name, summary in metrics.items()}
        for name in INTERVAL_METRICS:
            line |= {f"{name}_low": metrics[name].low, f"{name}_high": metrics[name].high}
        yield line


def short_table(table: Sequence[Row]) -> str:
    """The groups of pairs as aligned text."""
    columns = (
        "modality", "source", "method", "rmse", "psnr", "ms_ssim", "rmse_own", "ms_ssim_own",
    )  # fmt: skip
    return aligned([row for row in table if row["target"] == ALL_VENDORS], columns)
