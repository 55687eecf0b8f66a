"""Tables of what becomes of the anatomy, and of what the encoder's statistics tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.lab.benchmarks.vendors.tables import describe, to_tsv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_ihf.lab.benchmarks.table import Row

DICE = tuple(
    f"dice_{tissue}_{when}" for tissue in ("grey", "white", "csf") for when in ("before", "after")
)
EDGES = tuple(
    f"edge_shift_{name}{end}"
    for name in ("median", "p95", "mean", "lost")
    for end in ("", "_repeat")
)
LESIONS = ("lesion_kept", "lesion_kept_least", "lesion_kept_target", "lesion_kept_least_target")
OWN = ("own_change_over_repeat", "own_scanner_change_over_repeat")
MEASURES = (*DICE, *EDGES, *LESIONS, *OWN)
SUBJECT_COLUMNS = ("subject", "modality", "source", "target", *MEASURES)
COLUMNS = ("modality", "source", "target", "subjects", *MEASURES)
READOUT_COLUMNS = (
    "modality", "told_apart", "accuracy", "chance", "permuted", "classes", "scans", "variance",
)  # fmt: skip

_WHEN = {
    "": "from the scan to the harmonized scan",
    "_repeat": "from the scan to a second one by the same scanner: noise alone",
}
_EDGE = {
    "median": ("Median displacement of edges along the gradient, within slices", "mm"),
    "p95": ("95th percentile of the displacement of edges", "mm"),
    "mean": ("Mean displacement of edges; positive where the dark side grew", "mm"),
    "lost": ("Share of edges not found again within 0.75 mm", "1"),
}
_LESION = (
    "Contrast of lesions to the white matter round them over the contrast of grey to white "
    "matter, after over before"
)
_OWN = "RMSE of the change of a scan of the target itself over that of a repeat scan, {}"
DESCRIPTIONS: dict[str, tuple[str, str | None]] = {
    "subject": ("Label map of the simulated person, who has lesions", None),
    "modality": ("T1w or T2w", None),
    "source": ("Vendor of the scan", None),
    "target": ("Vendor the scan is harmonized to", None),
    "subjects": ("Number of subjects; the measures are means over them", None),
    **{
        name: (
            f"Dice of {name.split('_')[1]} matter with the known labels, {name.split('_')[2]} "
            "harmonization; three normal distributions of intensity".replace("csf matter", "CSF"),
            "1",
        )
        for name in DICE
    },
    **{
        f"edge_shift_{name}{end}": (f"{text}, {when}", units)
        for name, (text, units) in _EDGE.items()
        for end, when in _WHEN.items()
    },
    "lesion_kept": (_LESION, "1"),
    "lesion_kept_least": (f"{_LESION}; the lesion that lost most", "1"),
    "lesion_kept_target": (f"{_LESION}, 'after' being the target's own scan", "1"),
    "lesion_kept_least_target": (
        f"{_LESION}; the lesion that lost most, 'after' being the target's own scan",
        "1",
    ),
    "own_change_over_repeat": (_OWN.format("brought to the vendor's target"), "1"),
    "own_scanner_change_over_repeat": (_OWN.format("brought to the repeat scan"), "1"),
    "told_apart": ("What the linear read-out names: scanner or person", None),
    "accuracy": (
        "Share of scans named rightly; each person in turn, or scanner, was left out of training",
        "1",
    ),
    "chance": ("What guessing gives", "1"),
    "permuted": ("What 95 % of permutations of the labels stay below", "1"),
    "classes": ("How many there are to name", None),
    "scans": ("Number of scans", None),
    "variance": ("Share of the variance of the standardized statistics", "1"),
}


def by_pair(rows: Sequence[Row]) -> list[Row]:
    """Rows of COLUMNS from rows of SUBJECT_COLUMNS: means over subjects, missing values left
    out."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["modality"], row["source"], row["target"]), []).append(row)
    out: list[Row] = []
    for (modality, source, target), own in groups.items():
        line: Row = {"modality": modality, "source": source, "target": target}
        line["subjects"] = len({row["subject"] for row in own})
        for name in MEASURES:
            known = [row[name] for row in own if np.isfinite(row.get(name, np.nan))]
            line[name] = float(np.mean(known)) if known else float("nan")
        out.append(line)
    return out


def anatomy_files(
    rows: Sequence[Row], readout: Sequence[Row], about: Mapping[str, Any]
) -> dict[str, bytes]:
    """Name to content of the tables and their dictionaries."""
    found = {}
    for name, table, columns in (
        ("anatomy", by_pair(rows), COLUMNS),
        ("anatomy_subjects", rows, SUBJECT_COLUMNS),
        ("readout", readout, READOUT_COLUMNS),
    ):
        found[f"{name}.tsv"] = to_tsv(table, columns)
        found[f"{name}.json"] = describe(columns, DESCRIPTIONS, about)
    return found
