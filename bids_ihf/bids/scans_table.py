"""Quality measures of each harmonized image: one row in the scans table of its session."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bids_ihf.bids.images import SourceImage, output_paths, session_folder
from bids_ihf.bids.sidecars import read_json, to_json
from bids_ihf.errors import BadData
from bids_ihf.io.atomic import folder_lock, write_atomic
from bids_ihf.io.tsv import Cell, format_cell, read_tsv, to_tsv

MEASURE_COLUMNS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("scans.json").read_text(encoding="utf-8")
)
"""Data dictionary of all columns, in their order."""

REMEDY = "delete it and the JSON files of its images, and run again"
"""What helps where a table of ours cannot be read."""


def update_scans_table(out_dir: Path, image: SourceImage, row: Mapping[str, Cell]) -> Path:
    """Write or replace the row of one harmonized image; other rows and columns are kept.

    Parameters
    ----------
    out_dir
        Root of the output.
    image
        The source image; the row has the file name of its harmonized image.
    row
        Values by column; None, NaN and infinity are written as ``n/a``.

    Returns
    -------
    Path
        ``OUT/sub-X[/ses-Y]/sub-X[_ses-Y]_scans.tsv``.

    Raises
    ------
    ValueError
        A column is not in `MEASURE_COLUMNS`.
    BadData
        The existing table cannot be read.
    CannotWrite
        It cannot be written.
    """
    undescribed = [column for column in row if column not in MEASURE_COLUMNS]
    if undescribed:
        raise ValueError(f"no description for the columns {', '.join(undescribed)}")
    table, name = _place_of(out_dir, image)
    with folder_lock(table.parent):
        rows = {entry["filename"]: entry for entry in read_scans_table(table)}
        rows[name] = {"filename": name, **{key: format_cell(value) for key, value in row.items()}}
        columns = _ordered({column for entry in rows.values() for column in entry})
        write_atomic(table, to_tsv(columns, [rows[key] for key in sorted(rows)]))
        _update_dictionary(table.with_suffix(".json"), columns)
    return table


def read_scans_table(path: Path) -> list[dict[str, str]]:
    """Read a scans table as text by column; a missing file has no rows.

    Raises
    ------
    BadData
        It is not a table with the column ``filename``.
    """
    try:
        columns, rows = read_tsv(path, remedy=REMEDY)
    except FileNotFoundError:
        return []
    if "filename" not in columns:
        raise BadData(f"{path} is not a table with a column 'filename': {REMEDY}.")
    return rows


def _place_of(out_dir: Path, image: SourceImage) -> tuple[Path, str]:
    """The table of an image, and the name by which it lists the harmonized image."""
    session = f"_ses-{image.session}" if image.session else ""
    table = session_folder(out_dir, image) / f"sub-{image.subject}{session}_scans.tsv"
    return table, output_paths(out_dir, image).harmonized.relative_to(table.parent).as_posix()


def _ordered(columns: Iterable[str]) -> list[str]:
    """Sort columns as in `MEASURE_COLUMNS`, those of another version last."""
    rank = {column: index for index, column in enumerate(MEASURE_COLUMNS)}
    return sorted(columns, key=lambda column: (rank.get(column, len(rank)), column))


def _update_dictionary(path: Path, columns: list[str]) -> None:
    """Describe every column, keeping the descriptions of columns of another version."""
    before = read_json(path)
    entries = {column: MEASURE_COLUMNS.get(column, before.get(column)) for column in columns}
    content = {column: entry for column, entry in entries.items() if entry}
    if content != before:
        write_atomic(path, to_json(content))
