"""The benchmark's tables: medians over subjects with intervals, and every subject's rows."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from bids_ihf.lab.benchmarks.table import COVERAGE, RESAMPLINGS, summarize
from bids_ihf.lab.benchmarks.vendors.cases import OFF
from bids_ihf.lab.benchmarks.vendors.methods import DESCRIPTIONS
from bids_ihf.lab.benchmarks.vendors.scores import MEASURES, OWN
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bids_ihf.lab.benchmarks.table import Row, Summary

ALL = "all vendors"
OWN_VENDOR = "own vendor"

WITH_INTERVAL = ("rmse", "psnr", "ms_ssim")
COLUMNS = (
    "modality", "source", "target", "method", "subjects",
    *(f"{name}{end}" for name in WITH_INTERVAL for end in ("", "_low", "_high")),
    "rmse_frame", "psnr_frame", *OWN,
)  # fmt: skip
SUBJECT_COLUMNS = (
    "subject", "modality", "source", "scanner", "target", "method", *MEASURES, *OWN,
)  # fmt: skip

# The names under which bids_ihf.lab.benchmarks.table summarizes them.
_ALIAS = {
    "rmse_mask": "rmse",
    "psnr_mask": "psnr",
    "rmse_frame": "rmse_frame",
    "psnr_frame": "psnr_frame",
    "ms_ssim": "ms_ssim",
}
_ALIAS_OWN = {
    "rmse_mask": "rmse_own",
    "psnr_mask": "psnr_own",
    "rmse_frame": "rmse_own",
    "psnr_frame": "psnr_own",
    "ms_ssim": "ms_ssim_own",
}

_COMMON = "both images scaled by the true scan's 0.1 and 99.9 percentiles in the brain, clipped"
_OWN = "each image scaled by its own 0.1 and 99.9 percentiles in the brain, clipped"
_MEDIAN = "median over subjects"
DICTIONARY: dict[str, dict[str, str]] = {
    "subject": {"Description": "Label map of the simulated person"},
    "modality": {"Description": "T1w or T2w"},
    "source": {
        "Description": "Scanner of the scan that is harmonized: a vendor, off-range (scanners "
        "far from any vendor's), or a group of them"
    },
    "scanner": {"Description": "The scan; there are two off-range scanners for each person"},
    "target": {
        "Description": "Vendor the scan is brought to; the truth is the same person's scan"
    },
    "method": {"Description": "What made the image that is compared with the truth"},
    "subjects": {"Description": "Number of subjects"},
    "rmse": {"Description": f"Root mean square error in the brain; {_COMMON}", "Units": "1"},
    "psnr": {"Description": f"PSNR in the brain, data range 1; {_COMMON}", "Units": "dB"},
    "ms_ssim": {"Description": f"Multiscale SSIM of whole axial slices; {_COMMON}", "Units": "1"},
    "rmse_frame": {
        "Description": f"Root mean square error, whole slices; {_COMMON}",
        "Units": "1",
    },
    "psnr_frame": {"Description": f"PSNR of whole slices, data range 1; {_COMMON}", "Units": "dB"},
    "rmse_own": {"Description": f"Root mean square error in the brain; {_OWN}", "Units": "1"},
    "psnr_own": {"Description": f"PSNR in the brain, data range 1; {_OWN}", "Units": "dB"},
    "ms_ssim_own": {"Description": f"Multiscale SSIM of whole axial slices; {_OWN}", "Units": "1"},
}


def aggregate(rows: Sequence[Row], *, seed: int) -> list[Row]:
    """Rows of COLUMNS from rows of SUBJECT_COLUMNS: each pair, then the groups of pairs.

    A subject's rows (two off-range scanners, the pairs of a group) are averaged first; then the
    median over subjects is taken, with a bootstrap interval.
    """
    out: list[Row] = []
    for modality in dict.fromkeys(row["modality"] for row in rows):
        own = [row for row in rows if row["modality"] == modality]
        for source, target, group in _groups(own):
            place = {"modality": modality, "source": source, "target": target}
            out += [place | found for found in _summarized(group, seed)]
    return out


def _groups(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    pairs = dict.fromkeys((row["source"], row["target"]) for row in rows)
    for source, target in pairs:
        pair = (source, target)
        yield source, target, [r for r in rows if (r["source"], r["target"]) == pair]
    vendors = [row for row in rows if row["source"] in BUILTIN_VENDORS]
    yield ALL, ALL, [row for row in vendors if row["source"] != row["target"]]
    yield OFF, ALL, [row for row in rows if row["source"] == OFF]
    yield OWN_VENDOR, ALL, [row for row in vendors if row["source"] == row["target"]]


def _summarized(rows: Sequence[Row], seed: int) -> Iterator[Row]:
    common, own = (
        summarize([_renamed(row, names) for row in rows], seed=seed)
        for names in (_ALIAS, _ALIAS_OWN)
    )
    for method in common:
        found: dict[str, Summary] = {_ALIAS[k]: v for k, v in common[method].items()}
        found |= {_ALIAS_OWN[k]: v for k, v in own[method].items()}
        subjects = len({row["subject"] for row in rows if row["method"] == method})
        line: Row = {"method": method, "subjects": subjects}
        line |= {name: each.median for name, each in found.items()}
        for name in WITH_INTERVAL:
            line |= {f"{name}_low": found[name].low, f"{name}_high": found[name].high}
        yield line


def _renamed(row: Row, names: Mapping[str, str]) -> Row:
    plain = {"subject": row["subject"], "method": row["method"]}
    return plain | {new: row[old] for new, old in names.items()}


def to_tsv(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    """Tab-separated text of chosen columns; missing values and NaN are ``n/a``."""
    lines = [list(columns), *([_text(row.get(name)) for name in columns] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def dictionary(columns: Sequence[str], about: Mapping[str, Any]) -> bytes:
    """JSON that explains the columns, with the circumstances of the run under ``Benchmark``."""
    content: dict[str, Any] = {}
    for name in columns:
        base, _, end = name.rpartition("_")
        if end in ("low", "high"):
            side = "Lower" if end == "low" else "Upper"
            text = (
                f"{side} end of the {COVERAGE} % bootstrap interval of {base} "
                f"({RESAMPLINGS} resamplings of subjects)"
            )
            content[name] = {"Description": text}
        else:
            content[name] = dict(DICTIONARY[name])
            if "subjects" in columns and name in (*MEASURES, *OWN):
                content[name]["Description"] += f"; {_MEDIAN}"
    content["method"]["Levels"] = DESCRIPTIONS
    content["Benchmark"] = dict(about)
    return (json.dumps(content, indent=2) + "\n").encode()


def describe(
    columns: Sequence[str],
    descriptions: Mapping[str, tuple[str, str | None]],
    about: Mapping[str, Any],
) -> bytes:
    """JSON that explains columns by a text and units for each, and the run under ``Benchmark``."""
    content: dict[str, Any] = {}
    for name in columns:
        text, units = descriptions[name]
        content[name] = {"Description": text} | ({"Units": units} if units else {})
    content["Benchmark"] = dict(about)
    return (json.dumps(content, indent=2) + "\n").encode()


def _text(value: Any) -> str:
    from bids_ihf.io.tsv import format_cell

    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return format_cell(value)
