"""Volumes that another tool measured: FreeSurfer, FastSurfer, SynthSeg, or any table."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import frozen

from bids_ihf.errors import BadData, UsageError
from bids_ihf.validation.scans import Scan

NAME_COLUMNS = ("filename", "subject", "participant_id", "Measure:volume")
"""Columns whose text names the image: any table, SynthSeg, BIDS, FreeSurfer's asegstats2table."""

STATS_FILES = ("aseg.stats", "aseg+DKT.stats", "aseg+DKT.VINN.stats", "synthseg.vol.csv")
"""Files in the ``stats`` folder of a subject of FreeSurfer or FastSurfer; the first one counts."""

_ENTITY = re.compile(r"(?<![0-9A-Za-z])([a-z]+)-([0-9A-Za-z+]+)")
_FOLDER = re.compile(r"(?:sub|ses)-[0-9A-Za-z+]+")
_MEASURE = re.compile(r"# Measure \w+, (\w+), [^,]*, ([0-9.eE+-]+), mm\^3")

MM3_PER_ML = 1000.0


@frozen
class ToolRow:
    """Volumes (mL) by structure of the image that a name stands for; ``source`` is the file."""

    name: str
    volumes: dict[str, float]
    source: Path

    @property
    def entities(self) -> dict[str, str]:
        """BIDS entities in the name, ``desc`` aside; of folders above it, participant and
        session."""
        *folders, last = self.name.split("/")
        text = "_".join([*filter(_FOLDER.fullmatch, folders), last])
        return {key: value for key, value in _ENTITY.findall(text) if key != "desc"}


def read_tool_volumes(path: Path) -> tuple[str, list[ToolRow]]:
    """Name of the tool, and the volumes it measured, from a table or a folder.

    Parameters
    ----------
    path
        A table (.tsv or .csv) with a row for each image, one of NAME_COLUMNS and columns of
        volumes in mm3, or a folder of FreeSurfer or FastSurfer (``<name>/stats/aseg.stats``).
        Names hold the entities of the image: ``sub-01_ses-2``.

    Raises
    ------
    BadData
        It cannot be read, or holds no volume.
    UsageError
        There is no such file or folder.
    """
    if path.is_dir():
        rows, tool = list(_folder_rows(path)), "FreeSurfer"
        if not rows:
            raise BadData(
                f"{path}: no folder in it holds stats/{STATS_FILES[0]}; check the folder."
            )
    elif path.is_file():
        rows, tool = _table_rows(path), path.name.split(".")[0]
    else:
        raise UsageError(f"{path}: neither a table nor a folder; check the name.")
    return tool, rows


def match_scans(rows: Sequence[ToolRow], scans: Iterable[Scan]) -> dict[Scan, dict[str, float]]:
    """Volumes by scan: the row whose entities are all those of the image, or the only row whose
    entities leave no other choice.

    Raises
    ------
    BadData
        Two rows are of one image.
    """
    candidates = list(scans)
    row_of: dict[Scan, ToolRow] = {}
    for row in rows:
        entities = row.entities.items()
        fitting = [s for s in candidates if entities and entities <= set(s.image.name.entities)]
        exact = [s for s in fitting if len(s.image.name.without("desc")) == len(entities)]
        chosen = exact or fitting
        if len(chosen) != 1:
            continue
        if chosen[0] in row_of:
            raise BadData(
                f"{row.source}: '{row.name}' and '{row_of[chosen[0]].name}' both name "
                f"{chosen[0].name}; remove one."
            )
        row_of[chosen[0]] = row
    return {scan: row.volumes for scan, row in row_of.items()}


def _table_rows(path: Path) -> list[ToolRow]:
    delimiter = "," if path.suffix == ".csv" else "\t"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.DictReader(file, delimiter=delimiter, restkey="", restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path}: cannot be read ({error}); give a table of volumes.") from error
    columns = list(table[0]) if table else []
    name_column = next((name for name in NAME_COLUMNS if name in columns), None)
    if name_column is None:
        raise BadData(
            f"{path}: needs a row for each image and one of the columns "
            f"{', '.join(NAME_COLUMNS)}; add one that names it, such as sub-01_ses-2."
        )
    rows = []
    for line in table:
        # participant_id alone names no session: a column for it completes the name.
        session = line.get("session_id") or ""
        numbers = {key: _number(text) for key, text in line.items() if key != name_column}
        volumes = {key: value / MM3_PER_ML for key, value in numbers.items() if value is not None}
        rows.append(ToolRow(f"{line[name_column]}_{session}", volumes, path))
    if not any(row.volumes for row in rows):
        raise BadData(f"{path}: holds no column of volumes (mm3); check the file.")
    return rows


def _folder_rows(folder: Path) -> Iterator[ToolRow]:
    for subject in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = (subject / "stats" / name for name in STATS_FILES)
        file = next((path for path in files if path.is_file()), None)
        if file is not None:
            yield ToolRow(subject.name, _stats_volumes(file), file)


def _stats_volumes(path: Path) -> dict[str, float]:
    """Volumes (mL) in a ``.stats`` file: its measures in mm3, and the structures of its table."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path}: cannot be read ({error}); check the folder.") from error
    volumes = {}
    columns: list[str] = []
    for line in lines:
        measure = _MEASURE.match(line)
        if measure:
            volumes[measure[1]] = float(measure[2]) / MM3_PER_ML
        elif line.startswith("# ColHeaders"):
            columns = line.split()[2:]
        elif columns and line.strip() and not line.startswith("#"):
            cells = dict(zip(columns, line.split(), strict=False))
            value = _number(cells.get("Volume_mm3", ""))
            if value is not None and "StructName" in cells:
                volumes[cells["StructName"]] = value / MM3_PER_ML
    if not volumes:
        raise BadData(f"{path}: holds no volume; run the tool for this image again.")
    return volumes


def _number(text: object) -> float | None:
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if value == value and value not in (float("inf"), float("-inf")) else None
