"""Harmonized images in an output folder: the sidecar of each and its row of measures."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen

from bids_ihf.bids.names import BIDSName, NamedImage, parse_name
from bids_ihf.bids.raw_files import RAW_DATATYPES
from bids_ihf.bids.scans_table import read_scans_table
from bids_ihf.errors import HarmonyError
from bids_ihf.io.tsv import MISSING_VALUE

LOGGER = logging.getLogger(__name__)


@frozen
class HarmonizedImage(NamedImage):
    """A harmonized image that was written completely.

    Attributes
    ----------
    sidecar_path
        Its JSON file, the mark of completion; the image itself need not be present.
    relative
        Path of the image relative to the output folder, with forward slashes.
    name
        Its parsed file name.
    sidecar
        Content of its JSON file.
    measures
        Its row of the scans table, as text by column; empty if it has none.
    """

    sidecar_path: Path
    relative: str
    name: BIDSName
    sidecar: dict[str, Any] = field(factory=dict)
    measures: dict[str, str] = field(factory=dict)

    @property
    def modality(self) -> str:
        """What it was harmonized as: its suffix, unless it turned out to be another contrast."""
        return str(self.sidecar.get("HarmonizationModality") or self.suffix)

    @property
    def stem(self) -> str:
        """All entities of the source, without its suffix."""
        return "_".join(f"{key}-{value}" for key, value in self.name.without("desc"))

    @property
    def full_name(self) -> str:
        """File name of the source without its extension; unique in the dataset."""
        return f"{self.stem}_{self.suffix}"

    @property
    def title(self) -> str:
        """Suffix and the entities that distinguish the image within its participant."""
        pairs = self.name.without("sub", "desc")
        return ", ".join([self.suffix, *(f"{key} {value}" for key, value in pairs)])

    def number(self, column: str) -> float | None:
        """Return a measure as a number; None if it is missing."""
        try:
            return float(self.measures.get(column, MISSING_VALUE))
        except ValueError:
            return None

    def text(self, column: str, key: str) -> str:
        """Return a measure as text, falling back on the field `key` of the sidecar."""
        value = self.measures.get(column, MISSING_VALUE)
        return value if value != MISSING_VALUE else str(self.sidecar.get(key) or MISSING_VALUE)


def find_harmonized_images(out_dir: Path, subject: str | None = None) -> list[HarmonizedImage]:
    """Return the harmonized images of a participant, or of all, sorted by file name.

    Rows of a scans table without a sidecar belong to unfinished images and are ignored.  A file
    that cannot be read is skipped with a warning.
    """
    images = []
    # Not "**", which would walk through figures and logs.
    for folder in sorted(_session_folders(out_dir, subject)):
        rows = _read_measures(folder)
        paths = [
            path
            for datatype in RAW_DATATYPES
            for path in sorted((folder / datatype).glob("*_desc-harmonized_*.json"))
        ]
        here = [image for path in paths if (image := _read_image(out_dir, path, rows))]
        without = [image.relative for image in here if not image.measures]
        if without:
            LOGGER.warning(
                "%s: %d of the harmonized images have no measures in the scans table, such as %s; "
                "delete their JSON files and run the participant level again to have them.",
                *(folder, len(without), without[0]),
            )
        images += here
    return images


def _session_folders(out_dir: Path, subject: str | None) -> Iterator[Path]:
    for pattern in (f"sub-{subject or '*'}", f"sub-{subject or '*'}/ses-*"):
        yield from (path for path in out_dir.glob(pattern) if path.is_dir())


def _read_measures(folder: Path) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for table in sorted(folder.glob("*_scans.tsv")):
        try:
            rows |= {row["filename"]: row for row in read_scans_table(table)}
        except HarmonyError as error:
            LOGGER.warning("%s", error)
    return rows


def _read_image(
    out_dir: Path, path: Path, rows: dict[str, dict[str, str]]
) -> HarmonizedImage | None:
    try:
        name = parse_name(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (HarmonyError, OSError, ValueError) as error:
        LOGGER.warning("%s is not included in the report: %s", path, error)
        return None
    if name.get("space") is not None or not isinstance(content, dict):
        return None  # copies in template space have no measures
    image = path.with_suffix(".nii.gz")
    key = f"{path.parent.name}/{image.name}"
    relative = image.relative_to(out_dir).as_posix()
    return HarmonizedImage(path, relative, name, content, rows.get(key, {}))
