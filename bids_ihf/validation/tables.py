"""What the tables of a dataset say of people, sessions and scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bids_ihf.bids.images import SourceImage
from bids_ihf.io.tsv import MISSING_VALUE, read_tsv

Rows = dict[str, dict[str, str]]


def read_rows(path: Path, key: str) -> Rows:
    """Rows of a table by the text of a column, empty if the file or the column is missing.

    Raises
    ------
    BadData
        The file is not a table.
    """
    try:
        columns, rows = read_tsv(path)
    except FileNotFoundError:
        return {}
    return {row[key]: row for row in rows} if key in columns else {}


def participant_rows(bids_dir: Path) -> Rows:
    """Rows of participants.tsv by label without ``sub-``."""
    rows = read_rows(bids_dir / "participants.tsv", "participant_id")
    return {name.removeprefix("sub-"): row for name, row in rows.items()}


def scanner_by_column(
    bids_dir: Path, images: Sequence[SourceImage], column: str
) -> dict[str, str]:
    """Text of a column by path of the image, for those that have one.

    ``_scans.tsv`` counts before ``_sessions.tsv``, and that before ``participants.tsv``, as each
    says more of a single image.
    """
    people = participant_rows(bids_dir)
    by_path = {}
    for image in images:
        folder = bids_dir / f"sub-{image.subject}"
        sessions = read_rows(folder / f"sub-{image.subject}_sessions.tsv", "session_id")
        session = f"ses-{image.session}" if image.session else ""
        top = folder / session if session else folder
        stem = f"sub-{image.subject}_{session}" if session else f"sub-{image.subject}"
        scans = read_rows(top / f"{stem}_scans.tsv", "filename")
        name = image.path.relative_to(top.absolute()).as_posix()
        rows = (scans.get(name), sessions.get(session), people.get(image.subject))
        texts = (row.get(column, MISSING_VALUE) for row in rows if row)
        text = next((text for text in texts if text not in (MISSING_VALUE, "")), None)
        if text is not None:
            by_path[image.relative] = text
    return by_path
