"""Tables of measures: all rows as TSV with a dictionary, and a short summary as text."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Row = dict[str, Any]

RESAMPLINGS = 2000
COVERAGE = 95

_CONVENTION = "scaled by the target's 0.1-99.9 percentiles in the mask, clipped to [0, 1]"


def _column(name: str, description: str, units: str | None = None) -> dict[str, str]:
    entry = {"LongName": name, "Description": description}
    return entry | {"Units": units} if units else entry


COLUMNS: dict[str, dict[str, str]] = {
    "subject": _column("Subject", "Label of the subject"),
    "harmonized": _column("Harmonized image", "File that was evaluated"),
    "target": _column("Target scan", "File it was compared with"),
    "method": _column("Method", "What was compared: the harmonized image, or a baseline"),
    "rmse_mask": _column("RMSE in the mask", f"Root mean square error, {_CONVENTION}", "1"),
    "psnr_mask": _column("PSNR in the mask", "Peak signal-to-noise ratio, data range 1", "dB"),
    "rmse_frame": _column("RMSE, full frame", f"Root mean square error, {_CONVENTION}", "1"),
    "psnr_frame": _column("PSNR, full frame", "Peak signal-to-noise ratio, data range 1", "dB"),
    "ms_ssim": _column("MS-SSIM", "Multiscale SSIM, mean over axial slices with brain", "1"),
    "ms_ssim_scales": _column("MS-SSIM scales", "5, or fewer where slices are too small", "1"),
}
_SHOWN = ("rmse_mask", "psnr_mask", "rmse_frame", "psnr_frame", "ms_ssim")


@frozen
class Summary:
    """Median over subjects and its bootstrap interval."""

    median: float
    low: float
    high: float


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all rows to a TSV file, and the JSON file beside it that explains the columns.

    Raises
    ------
    CannotWrite
        They cannot be written.
    """
    from bids_ihf.bids.sidecars import write_json
    from bids_ihf.io.atomic import write_atomic

    columns = _columns(rows)
    write_atomic(path, to_tsv(rows).encode())
    write_json(path.with_suffix(".json"), {name: COLUMNS.get(name, {}) for name in columns})


def to_tsv(rows: Sequence[Mapping[str, Any]]) -> str:
    """All rows as tab-separated text; missing values and NaN are ``n/a``."""
    columns = _columns(rows)
    lines = [columns, *([_text(row.get(column)) for column in columns] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines)


def summarize(
    rows: Sequence[Mapping[str, Any]], *, seed: int = 0
) -> dict[str, dict[str, Summary]]:
    """Median and 95 % bootstrap interval of each measure, by method.

    A subject's rows are averaged first: subjects are the units, and never images or slices.
    """
    summaries: dict[str, dict[str, Summary]] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        summaries[method] = {
            name: _interval(_by_subject(own, name), np.random.default_rng(seed)) for name in _SHOWN
        }
    return summaries


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The summary as aligned text: one line for each method, ``median [low, high]``."""
    summaries = summarize(rows)
    head = ["method", *(COLUMNS[name]["LongName"] for name in _SHOWN)]
    body = [
        [method, *(_cell(measures[name]) for name in _SHOWN)]
        for method, measures in summaries.items()
    ]
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *body)
    )
    count = len({row["subject"] for row in rows})
    noun = "subject" if count == 1 else "subjects"
    note = f"Median over {count} {noun} [{COVERAGE} % bootstrap interval]"
    return "\n".join((*lines, note)) + "\n"


def _by_subject(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        values[row["subject"]].append(float(row[name]))
    return np.array([np.mean(own) for own in values.values()])


def _interval(values: NDArray[np.float64], generator: np.random.Generator) -> Summary:
    draws = generator.integers(len(values), size=(RESAMPLINGS, len(values)))
    medians = np.median(values[draws], axis=1)
    tail = (100 - COVERAGE) / 2
    # Not interpolated: a PSNR may be infinite.
    low, high = np.percentile(medians, (tail, 100 - tail), method="nearest")
    return Summary(float(np.median(values)), float(low), float(high))


def _cell(summary: Summary) -> str:
    return f"{summary.median:.4g} [{summary.low:.4g}, {summary.high:.4g}]"


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    present = {name for row in rows for name in row} or set(COLUMNS)
    return [name for name in COLUMNS if name in present] + sorted(present - set(COLUMNS))


def _text(value: Any) -> str:
    from bids_ihf.io.tsv import format_cell

    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return format_cell(value)
