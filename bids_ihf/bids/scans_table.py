"""Measures of each harmonized image: one row in the scans table of its session."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from bids_ihf.bids.images import SourceImage, output_paths, scans_folder
from bids_ihf.bids.sidecars import to_json
from bids_ihf.errors import BadData
from bids_ihf.io.atomic import folder_lock, write_atomic

MISSING_VALUE = "n/a"


def _column(name: str, description: str, units: str | None = None) -> dict[str, Any]:
    entry = {"LongName": name, "Description": description}
    return entry | {"Units": units} if units else entry


def _before_and_after(*columns: tuple[str, str, str, str]) -> dict[str, dict[str, Any]]:
    """A column for each side of each measure: name, long name, description, units."""
    return {
        f"{name}_{side}": _column(f"{long} {side}", f"{description}, {side} harmonization", units)
        for name, long, description, units in columns
        for side in ("before", "after")
    }


_SHARE = "share of the 99.9th percentile of the brain"
_WASSERSTEIN = "Wasserstein distance of the intensities of {} to those of the target"
_CNR = "Difference of the medians of white and grey matter over the root of their summed variance"
_VOLUME = "Volume of {} by intensity and place, counted in one slice every 6 mm"

MEASURE_COLUMNS: dict[str, dict[str, Any]] = {
    "filename": _column("File name", "Harmonized image, relative to the folder of this table"),
    "harmonization_target": _column("Target", "What the image was harmonized to"),
    "source_vendor": _column("Source vendor", "Maker of the scanner that acquired the image"),
    "harmonization_warning": {
        "LongName": "Warning",
        "Description": "Whether image or target is farther than a limit from all simulated scans",
        "Levels": {"yes": "Look at it, see HarmonizationWarning in its JSON file", "no": "Usual"},
    },
    "distance_before": _column(
        "Distance before", "Distance of the image's profile from the target's, before", "arbitrary"
    ),
    "distance_after": _column(
        "Distance after", "Distance of the image's profile from the target's, after", "arbitrary"
    ),
    **_before_and_after(
        ("wasserstein_grey", "Grey to target", _WASSERSTEIN.format("grey matter"), _SHARE),
        ("wasserstein_white", "White to target", _WASSERSTEIN.format("white matter"), _SHARE),
        ("wasserstein_csf", "Fluid to target", _WASSERSTEIN.format("fluid"), _SHARE),
    ),
    "change_rms": _column(
        "Size of the change", "Root mean square of the change in the brain mask", "arbitrary"
    ),
    "change_share": _column(
        "Relative change",
        "Root mean square in the brain of the difference of both images, each in shares of the "
        "99.9th percentile of the brain, the result in those of the target",
        _SHARE,
    ),
    "round_trip_max_error": _column(
        "Round-trip error",
        "Largest difference of the harmonized image less its change to the original, relative "
        "to the original's largest intensity",
        "arbitrary",
    ),
    **_before_and_after(
        ("snr", "SNR", "Median of white matter over its standard deviation", "arbitrary"),
        ("cnr", "CNR", _CNR, "arbitrary"),
        ("contrast", "Grey to white", "Median of grey over median of white matter", "arbitrary"),
        ("grey_ml", "Grey matter", _VOLUME.format("grey matter"), "mL"),
        ("white_ml", "White matter", _VOLUME.format("white matter"), "mL"),
        ("csf_ml", "Fluid", _VOLUME.format("fluid"), "mL"),
        ("fa", "FA", "Median fractional anisotropy in the brain mask (diffusion)", "arbitrary"),
    ),
    "mask_volume_ml": _column("Mask volume", "Volume of the brain mask", "mL"),
    "alignment_similarity": _column(
        "Alignment", "Similarity of image and template after alignment", "arbitrary"
    ),
    "alignment_coverage": _column(
        "Brain in view",
        "Share of the template's brain that the image's brain lies on, or that of the T1w image "
        "by which it was aligned",
        "arbitrary",
    ),
    "out_of_range_score": _column(
        "Out of range",
        "The larger of the two scores of image and target; 1 is as far from all other people's "
        "scans as the loneliest simulated scan; of diffusion, how large an exponent a shell "
        "asks for, 1 being the limit",
        "arbitrary",
    ),
    "out_of_range_source": _column(
        "Out of range, image", "Distance of the image to the nearest simulated scan", "arbitrary"
    ),
    "out_of_range_target": _column(
        "Out of range, target", "Distance of the target to the nearest simulated scan", "arbitrary"
    ),
    "seconds": _column("Time", "Processing time of the image", "s"),
}

Row = Mapping[str, float | int | str | None]


def update_scans_table(
    out_dir: Path,
    image: SourceImage,
    row: Row,
    *,
    dictionary: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write, or replace, the row of one harmonized image; other rows and columns stay.

    Parameters
    ----------
    out_dir
        Root of the output.
    image
        The source; the row is named by its harmonized image.
    row
        Values by column; None, NaN and infinity are written ``n/a``.
    dictionary
        Explains columns that `COLUMNS` does not.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    ValueError
        A column is not explained anywhere.
    BadData
        The table that is there cannot be read.
    CannotWrite
        It cannot be written.
    """
    known = {**MEASURE_COLUMNS, **(dictionary or {})}
    unknown = [column for column in row if column not in known]
    if unknown:
        raise ValueError(f"no description for the columns {', '.join(unknown)}")
    table = scans_table_path(out_dir, image)
    name = output_paths(out_dir, image).harmonized.relative_to(table.parent).as_posix()
    with folder_lock(table.parent):
        rows = {entry["filename"]: entry for entry in read_scans_table(table)}
        new = {column: format_cell(value) for column, value in row.items()}
        rows[name] = {"filename": name, **new}
        columns = _in_order({column for entry in rows.values() for column in entry}, known)
        write_atomic(table, _to_tsv(columns, [rows[key] for key in sorted(rows)]))
        _update_dictionary(table.with_suffix(".json"), columns, known)
    return table


def scans_table_path(out_dir: Path, image: SourceImage) -> Path:
    """``OUT/sub-X[/ses-Y]/sub-X[_ses-Y]_scans.tsv``."""
    folder = scans_folder(out_dir, image)
    session = f"_ses-{image.session}" if image.session else ""
    return folder / f"sub-{image.subject}{session}_scans.tsv"


def read_scans_table(path: Path) -> list[dict[str, str]]:
    """Read a scans table as text by column; a missing file has no rows.

    Raises
    ------
    BadData
        It is not a table with the column ``filename``.
    """
    try:
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read ({error}): delete it and run again.") from error
    columns = lines[0] if lines else []
    if "filename" not in columns or any(len(line) != len(columns) for line in lines):
        raise BadData(f"{path} is not a table with a column 'filename': delete it and run again.")
    return [dict(zip(columns, line, strict=True)) for line in lines[1:]]


def format_cell(value: float | str | None) -> str:
    """Bring a value to what a BIDS table holds: plain decimals, ``n/a`` for what is missing.

    Six significant digits are kept of a number that is not whole, and no exponent is used.
    """
    if value is None:
        return MISSING_VALUE
    if isinstance(value, str):
        return " ".join(value.split()) or MISSING_VALUE
    number = float(value)
    if not math.isfinite(number):
        return MISSING_VALUE
    if number.is_integer():
        return str(int(number))
    return format(Decimal(f"{number:.6g}"), "f")


def _to_tsv(columns: list[str], rows: list[dict[str, str]]) -> bytes:
    lines = [columns, *([row.get(column, MISSING_VALUE) for column in columns] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def _in_order(columns: set[str], known: Mapping[str, object]) -> list[str]:
    ordered = [column for column in known if column in columns]
    return ordered + sorted(columns.difference(ordered))


def _update_dictionary(
    path: Path, columns: list[str], known: Mapping[str, Mapping[str, Any]]
) -> None:
    """Explain every column, keeping what an earlier run said of columns not known here."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    earlier = before if isinstance(before, dict) else {}
    merged = {column: known.get(column, earlier.get(column)) for column in columns}
    content = {column: entry for column, entry in merged.items() if entry}
    if content != before:
        write_atomic(path, to_json(content))
