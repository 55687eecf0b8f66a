"""Tables of the group level, from the sidecars and scans tables of all participants."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_ihf.bids.harmonized_images import HarmonizedImage, find_harmonized_images
from bids_ihf.bids.scans_table import MEASURE_COLUMNS
from bids_ihf.bids.sidecars import to_json
from bids_ihf.errors import NothingSelected
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tsv import MISSING_VALUE, Cell, format_cell, to_tsv
from bids_ihf.reports.group_statistics import scanner_name
from bids_ihf.reports.templates import TEMPLATES_DIR

DATA_DICTIONARIES = json.loads((TEMPLATES_DIR / "group_columns.json").read_text(encoding="utf-8"))
PARTICIPANT_COLUMNS: dict[str, dict[str, Any]] = DATA_DICTIONARIES["participants"]
GROUP_COLUMNS: dict[str, dict[str, Any]] = {
    "filename": MEASURE_COLUMNS["filename"], **DATA_DICTIONARIES["group"], **MEASURE_COLUMNS
}  # fmt: skip
SIDECAR_FIELDS = {
    "harmonization_target": "HarmonizationTarget",
    "source_vendor": "SourceVendor",
    "round_trip_max_error": "RoundTripMaxError",
}
"""Sidecar fields that stand in for columns missing from the scans table."""


def group_tables(out_dir: Path) -> list[Path]:
    """Write ``group_<modality>.tsv`` for each modality, and ``participants.tsv``.

    Each has a data dictionary beside it.  Any subset of participants may be present; no image is
    loaded.  Raises NothingSelected without any harmonized image, and CannotWrite.
    """
    images = require_harmonized_images(out_dir)
    tables = []
    for modality, members in images_by_modality(images).items():
        path = out_dir / f"group_{modality}.tsv"
        _write_table(path, map(group_row, members), GROUP_COLUMNS)
        tables.append(path)
    participants = out_dir / "participants.tsv"
    _write_table(participants, _participant_rows(out_dir, images), PARTICIPANT_COLUMNS)
    return [*tables, participants]


def require_harmonized_images(out_dir: Path) -> list[HarmonizedImage]:
    """Return all harmonized images; NothingSelected is raised if there is none."""
    images = find_harmonized_images(out_dir)
    if not images:
        raise NothingSelected(
            f"{out_dir}: no harmonized image with a JSON sidecar; "
            "run the participant level into this folder first."
        )
    return images


def images_by_modality(images: Iterable[HarmonizedImage]) -> dict[str, list[HarmonizedImage]]:
    """Group images by what they were harmonized as, sorted."""
    groups = defaultdict(list)
    for image in images:
        groups[image.modality].append(image)
    return dict(sorted(groups.items()))


def group_row(image: HarmonizedImage) -> dict[str, str]:
    """Return the row of an image; its file name is relative to the output folder."""
    row = {column: image.measures.get(column, MISSING_VALUE) for column in MEASURE_COLUMNS}
    for column, key in SIDECAR_FIELDS.items():
        value = image.sidecar.get(key)
        if row[column] == MISSING_VALUE and isinstance(value, str | int | float):
            row[column] = format_cell(value)
    return {**row, "filename": image.relative, "scanner": format_cell(scanner_name(image))}


def _participant_rows(out_dir: Path, images: Sequence[HarmonizedImage]) -> list[dict[str, Cell]]:
    """Return a row for every participant with a folder: BIDS requires that none be missing."""
    by_subject = defaultdict(list)
    for image in images:
        by_subject[f"sub-{image.subject}"].append(image)
    rows = []
    for folder in sorted(out_dir.glob("sub-*")):
        if folder.is_dir() and re.fullmatch("sub-[0-9A-Za-z+]+", folder.name):
            members = by_subject[folder.name]
            sessions = ",".join(sorted({image.session for image in members if image.session}))
            rows.append((folder.name, sessions, len(members)))
    return [dict(zip(PARTICIPANT_COLUMNS, row, strict=True)) for row in rows]


def _write_table(
    path: Path, rows: Iterable[Mapping[str, Cell]], columns: Mapping[str, Mapping[str, Any]]
) -> None:
    write_atomic(path.with_suffix(".json"), to_json(columns))
    write_atomic(path, to_tsv(list(columns), rows))
