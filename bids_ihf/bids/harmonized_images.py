"""What an output folder holds about each harmonized image: its sidecar and its row of measures."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from bids_ihf.bids.names import BIDSName, parse
from bids_ihf.bids.scans_table import MISSING, read_scans_table
from bids_ihf.errors import HarmonyError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger(__name__)

DATATYPES = ("anat", "dwi")


@frozen
class Finished:
    """A finished harmonized image.

    Attributes
    ----------
    sidecar_path
        Its JSON file, the mark of completion; the image itself may not be here.
    relative
        Path of the image inside the output folder, with forward slashes.
    name
        Its file name taken apart.
    sidecar
        Content of its JSON file.
    measures
        Its row of the scans table, as text by column; empty where there is none.
    """

    sidecar_path: Path
    relative: str
    name: BIDSName
    sidecar: dict[str, Any] = field(factory=dict)
    measures: dict[str, str] = field(factory=dict)

    @property
    def suffix(self) -> str:
        """``T1w``, ``T2w`` or ``dwi``."""
        return self.name.suffix

    @property
    def subject(self) -> str:
        """Label of the participant."""
        return self.name.get("sub") or ""

    @property
    def session(self) -> str | None:
        """Label of the session."""
        return self.name.get("ses")

    @property
    def stem(self) -> str:
        """All entities of the source, without its suffix."""
        return "_".join(f"{key}-{value}" for key, value in self.name.without("desc"))

    @property
    def full_name(self) -> str:
        """File name of the source without its extension: tells it from all others."""
        return f"{self.stem}_{self.suffix}"

    @property
    def title(self) -> str:
        """Suffix, and what sets this image apart from others of the participant."""
        pairs = self.name.without("sub", "desc")
        return ", ".join([self.suffix, *(f"{key} {value}" for key, value in pairs)])

    def number(self, column: str) -> float | None:
        """Return a measure as a number; None where there is none."""
        try:
            return float(self.measures.get(column, MISSING))
        except ValueError:
            return None

    def text(self, column: str, key: str) -> str:
        """Return a measure as text, or else what the sidecar says under `key`."""
        value = self.measures.get(column, MISSING)
        return value if value != MISSING else str(self.sidecar.get(key) or MISSING)


def find_finished(out_dir: Path, subject: str | None = None) -> list[Finished]:
    """Return the finished images of a participant, or of all, in the order of their names.

    A row of a scans table without a sidecar belongs to an image that is not finished and is left
    out; so are files that cannot be read, with a warning.
    """
    found = []
    # Not "**": that would walk through figures and logs too.
    for folder in sorted(_session_folders(out_dir, subject)):
        rows = _rows(folder)
        for datatype in DATATYPES:
            for path in sorted((folder / datatype).glob("*_desc-harmonized_*.json")):
                image = _finished(out_dir, path, rows)
                if image is not None:
                    found.append(image)
    return found


def _session_folders(out_dir: Path, subject: str | None) -> Iterator[Path]:
    for pattern in (f"sub-{subject or '*'}", f"sub-{subject or '*'}/ses-*"):
        yield from (path for path in out_dir.glob(pattern) if path.is_dir())


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for table in sorted(folder.glob("*_scans.tsv")):
        try:
            rows |= {row["filename"]: row for row in read_scans_table(table)}
        except HarmonyError as error:
            LOGGER.warning("%s", error)
    return rows


def _finished(out_dir: Path, path: Path, rows: dict[str, dict[str, str]]) -> Finished | None:
    try:
        name = parse(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (HarmonyError, OSError, ValueError) as error:
        LOGGER.warning("%s is left out of the report: %s", path, error)
        return None
    if name.get("space") is not None or not isinstance(content, dict):
        return None  # a copy in template space has no measures of its own
    image = path.with_suffix(".nii.gz")
    key = f"{path.parent.name}/{image.name}"
    relative = image.relative_to(out_dir).as_posix()
    return Finished(path, relative, name, content, rows.get(key, {}))
