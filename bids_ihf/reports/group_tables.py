"""Tables of the group level, from the sidecars and scans tables of all participants."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from bids_ihf.bids.harmonized_images import HarmonizedImage, find_harmonized_images
from bids_ihf.bids.scans_table import MEASURE_COLUMNS
from bids_ihf.bids.sidecars import to_json
from bids_ihf.errors import NothingSelected
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.tsv import MISSING_VALUE, format_cell, to_tsv
from bids_ihf.reports.group_statistics import scanner_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

PARTICIPANT_COLUMNS = {
    "participant_id": {"LongName": "Participant", "Description": "Label of the participant"},
    "sessions": {
        "LongName": "Sessions",
        "Description": "Labels of the sessions with a harmonized image, n/a without sessions",
    },
    "images": {"LongName": "Images", "Description": "Number of harmonized images"},
}
SCANNER_COLUMN = {
    "LongName": "Scanner",
    "Description": "Manufacturer, model and serial number, as far as the sidecar has them",
}
GROUP_COLUMNS = {
    "filename": MEASURE_COLUMNS["filename"],
    "scanner": SCANNER_COLUMN,
    **MEASURE_COLUMNS,
}
SIDECAR_FIELDS = {
    "harmonization_target": "HarmonizationTarget",
    "source_vendor": "SourceVendor",
    "round_trip_max_error": "RoundTripMaxError",
}
"""Sidecar fields that stand in for columns missing from the scans table."""


def group_tables(out_dir: Path) -> list[Path]:
    """Write ``group_<suffix>.tsv`` for each suffix, and ``participants.tsv``.

    Each has a data dictionary beside it.  Any subset of participants may be present; no image is
    loaded.

    Returns
    -------
    list[Path]
        The tables, without their dictionaries.

    Raises
    ------
    NothingSelected
        There is no harmonized image.
    CannotWrite
        A table cannot be written.
    """
    images = require_harmonized_images(out_dir)
    tables = []
    for suffix, members in group_by_suffix(images).items():
        path = out_dir / f"group_{suffix}.tsv"
        _write_table(path, map(group_row, members), GROUP_COLUMNS)
        tables.append(path)
    participants = out_dir / "participants.tsv"
    _write_table(participants, _participant_rows(out_dir, images), PARTICIPANT_COLUMNS)
    return [*tables, participants]


def require_harmonized_images(out_dir: Path) -> list[HarmonizedImage]:
    """Return all harmonized images.

    Raises
    ------
    NothingSelected
        There is none.
    """
    images = find_harmonized_images(out_dir)
    if not images:
        raise NothingSelected(
            f"{out_dir}: no harmonized image with a JSON sidecar; "
            "run the participant level into this folder first."
        )
    return images


def group_by_suffix(images: Iterable[HarmonizedImage]) -> dict[str, list[HarmonizedImage]]:
    """Group images by suffix, sorted."""
    groups = defaultdict(list)
    for image in images:
        groups[image.suffix].append(image)
    return dict(sorted(groups.items()))


def group_row(image: HarmonizedImage) -> dict[str, str]:
    """Return the row of an image; its file name is relative to the output folder."""
    row = {column: image.measures.get(column, MISSING_VALUE) for column in MEASURE_COLUMNS}
    for column, key in SIDECAR_FIELDS.items():
        value = image.sidecar.get(key)
        if row[column] == MISSING_VALUE and isinstance(value, str | int | float):
            row[column] = format_cell(value)
    return {**row, "filename": image.relative, "scanner": format_cell(scanner_name(image))}


def _participant_rows(out_dir: Path, images: Sequence[HarmonizedImage]) -> list[dict[str, str]]:
    """Return a row for every participant with a folder: BIDS requires that none be missing."""
    counts = Counter(image.subject for image in images)
    sessions = sorted({(image.subject, image.session) for image in images if image.session})
    rows = []
    for folder in sorted(out_dir.glob("sub-*")):
        label = folder.name.removeprefix("sub-")
        if not folder.is_dir() or not re.fullmatch("[0-9A-Za-z+]+", label):
            continue
        labels = [session for subject, session in sessions if subject == label]
        rows.append(
            {
                "participant_id": folder.name,
                "sessions": ",".join(labels) or MISSING_VALUE,
                "images": str(counts[label]),
            }
        )
    return rows


def _write_table(
    path: Path, rows: Iterable[Mapping[str, str]], columns: Mapping[str, Mapping[str, str]]
) -> None:
    write_atomic(path.with_suffix(".json"), to_json(columns))
    write_atomic(path, to_tsv(list(columns), rows))
