"""The group level: tables and a page from the sidecars and scans tables of all participants."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from bids_ihf.bids.harmonized_images import HarmonizedImage, find_harmonized_images
from bids_ihf.bids.scans_table import MEASURE_COLUMNS
from bids_ihf.errors import NothingSelected
from bids_ihf.io.tsv import MISSING_VALUE, format_cell, to_tsv
from bids_ihf.reports.group_data import scanner_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PARTICIPANTS = {
    "participant_id": {"LongName": "Participant", "Description": "Label of the participant"},
    "sessions": {
        "LongName": "Sessions",
        "Description": "Labels of the sessions with a harmonized image, n/a without sessions",
    },
    "images": {"LongName": "Images", "Description": "Number of harmonized images"},
}
SCANNER = {
    "scanner": {
        "LongName": "Scanner",
        "Description": "Maker, model and serial number, as far as the sidecar tells them",
    }
}
"""What the tables of the group have besides the measures."""
DICTIONARY = {"filename": MEASURE_COLUMNS["filename"], **SCANNER, **MEASURE_COLUMNS}
# From the sidecar where the scans table has no row.
_FROM_SIDECAR = {
    "harmonization_target": "HarmonizationTarget",
    "source_vendor": "SourceVendor",
    "round_trip_max_error": "RoundTripMaxError",
}


def group_tables(out_dir: Path) -> list[Path]:
    """Write ``group_<suffix>.tsv`` for each suffix there is, and ``participants.tsv``.

    Each has its data dictionary beside it.  Any subset of what participants wrote will do; no
    image is loaded.

    Returns
    -------
    list[Path]
        The tables, without their dictionaries.

    Raises
    ------
    NothingSelected
        No harmonized image is there.
    CannotWrite
        A table cannot be written.
    """
    images = require_finished(out_dir)
    tables = []
    for suffix, group in by_suffix(images).items():
        path = out_dir / f"group_{suffix}.tsv"
        _write(path, list(DICTIONARY), map(group_row, group), DICTIONARY)
        tables.append(path)
    return [*tables, _write_participants(out_dir, images)]


def require_finished(out_dir: Path) -> list[HarmonizedImage]:
    """Return all finished images.

    Raises
    ------
    NothingSelected
        There is none.
    """
    images = find_harmonized_images(out_dir)
    if not images:
        raise NothingSelected(
            f"{out_dir}: no harmonized image with its JSON file is there; "
            "run the participant level into this folder first."
        )
    return images


def by_suffix(images: Iterable[HarmonizedImage]) -> dict[str, list[HarmonizedImage]]:
    """Group images by suffix, in the order of the suffixes' names."""
    groups: dict[str, list[HarmonizedImage]] = defaultdict(list)
    for image in images:
        groups[image.suffix].append(image)
    return dict(sorted(groups.items()))


def by_vendor(images: Iterable[HarmonizedImage]) -> dict[str, list[HarmonizedImage]]:
    """Group images by the maker of their scanner."""
    groups: dict[str, list[HarmonizedImage]] = defaultdict(list)
    for image in images:
        groups[image.text("source_vendor", "SourceVendor")].append(image)
    return dict(sorted(groups.items()))


def group_row(image: HarmonizedImage) -> dict[str, str]:
    """Return the row of an image, its name relative to the output folder."""
    row = {column: image.measures.get(column, MISSING_VALUE) for column in MEASURE_COLUMNS}
    for column, key in _FROM_SIDECAR.items():
        value = image.sidecar.get(key)
        if row[column] == MISSING_VALUE and isinstance(value, str | int | float):
            row[column] = format_cell(value)
    return {**row, "filename": image.relative, "scanner": format_cell(scanner_of(image))}


def _write_participants(out_dir: Path, images: Sequence[HarmonizedImage]) -> Path:
    """Name every participant with a folder: BIDS asks that none be missing."""
    counts = Counter(image.subject for image in images)
    sessions = {(image.subject, image.session) for image in images if image.session}
    rows = []
    for folder in sorted(out_dir.glob("sub-*")):
        label = folder.name.removeprefix("sub-")
        if not folder.is_dir() or not re.fullmatch("[0-9A-Za-z+]+", label):
            continue
        own = sorted(str(session) for subject, session in sessions if subject == label)
        rows.append(
            {
                "participant_id": folder.name,
                "sessions": ",".join(own) or MISSING_VALUE,
                "images": str(counts[label]),
            }
        )
    path = out_dir / "participants.tsv"
    _write(path, list(PARTICIPANTS), rows, PARTICIPANTS)
    return path


def _write(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, str]],
    dictionary: Mapping[str, Mapping[str, str]],
) -> None:
    from bids_ihf.bids.sidecars import to_json
    from bids_ihf.io.atomic import write_atomic

    write_atomic(path.with_suffix(".json"), to_json(dictionary))
    write_atomic(path, to_tsv(columns, rows))


def group_page(out_dir: Path) -> Path:
    """Write ``group.html``: one file with its tables, plots and outliers, no image loaded.

    Raises
    ------
    NothingSelected
        No harmonized image is there.
    CannotWrite
        It cannot be written.
    """
    from bids_ihf.io.atomic import write_atomic
    from bids_ihf.reports.group_page import render_page

    path = out_dir / "group.html"
    write_atomic(path, render_page(out_dir, require_finished(out_dir)).encode())
    return path
