"""Quality measures of each harmonized image: one row in the scans table of its session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bids_ihf.bids.images import SourceImage, output_paths, session_folder
from bids_ihf.bids.sidecars import read_json, to_json
from bids_ihf.errors import BadData
from bids_ihf.io.atomic import folder_lock, write_atomic
from bids_ihf.io.tsv import Cell, describe_column, format_cell, read_tsv, to_tsv


def _before_and_after(*columns: tuple[str, str, str, str]) -> dict[str, dict[str, Any]]:
    """Two columns for each measure, given as (name, long name, description, units)."""
    return {
        f"{name}_{stage}": describe_column(
            f"{long_name} {stage}", f"{description}, {stage} harmonization", units
        )
        for name, long_name, description, units in columns
        for stage in ("before", "after")
    }


_P999_UNITS = "fraction of the 99.9th percentile of the brain"
_WASSERSTEIN = "Wasserstein distance between the {} intensities of the image and of the target"
_VOLUME = "Volume of {} by intensity and location, from one slice every 6 mm"
_CNR = (
    "Absolute difference of the median white and grey matter intensities divided by the square "
    "root of the sum of their variances"
)

MEASURE_COLUMNS: dict[str, dict[str, Any]] = {
    "filename": describe_column(
        "File name", "Harmonized image, relative to the folder of this table"
    ),
    "harmonization_target": describe_column("Target", "Target of the harmonization"),
    "source_vendor": describe_column(
        "Source vendor", "Vendor of the scanner that acquired the image"
    ),
    "harmonization_warning": {
        "LongName": "Warning",
        "Description": "Whether the image or the target is outside the range of the simulated "
        "training scans",
        "Levels": {
            "yes": "Inspect the image; see HarmonizationWarning in its JSON file",
            "no": "Inside the range",
        },
    },
    **_before_and_after(
        (
            "distance",
            "Distance",
            "Distance between the profile of the image and that of the target",
            "arbitrary",
        ),
        ("wasserstein_grey", "Grey to target", _WASSERSTEIN.format("grey matter"), _P999_UNITS),
        ("wasserstein_white", "White to target", _WASSERSTEIN.format("white matter"), _P999_UNITS),
        ("wasserstein_csf", "CSF to target", _WASSERSTEIN.format("CSF"), _P999_UNITS),
    ),
    "change_rms": describe_column(
        "Size of the change", "Root mean square of the change in the brain mask", "arbitrary"
    ),
    "change_share": describe_column(
        "Relative change",
        "Root mean square difference in the brain between the image and the harmonized image, "
        "each scaled by the 99.9th percentile of its brain (that of the target for the harmonized "
        "image)",
        _P999_UNITS,
    ),
    "round_trip_max_error": describe_column(
        "Round-trip error",
        "Largest absolute difference between the original image and the harmonized image minus "
        "its change, relative to the largest intensity of the original image",
        "arbitrary",
    ),
    **_before_and_after(
        (
            "snr",
            "SNR",
            "Median of the white matter intensities divided by their standard deviation",
            "arbitrary",
        ),
        ("cnr", "CNR", _CNR, "arbitrary"),
        (
            "contrast",
            "Grey to white",
            "Median grey matter intensity divided by median white matter intensity",
            "arbitrary",
        ),
        ("grey_ml", "Grey matter", _VOLUME.format("grey matter"), "mL"),
        ("white_ml", "White matter", _VOLUME.format("white matter"), "mL"),
        ("csf_ml", "CSF", _VOLUME.format("CSF"), "mL"),
        (
            "fa",
            "FA",
            "Median fractional anisotropy in the brain mask (diffusion series only)",
            "arbitrary",
        ),
    ),
    "mask_volume_ml": describe_column("Mask volume", "Volume of the brain mask", "mL"),
    "alignment_similarity": describe_column(
        "Alignment", "Similarity of the image and the template after registration", "arbitrary"
    ),
    "alignment_coverage": describe_column(
        "Brain in view",
        "Fraction of the template's brain that is covered by the brain of the image (for an image "
        "registered through a T1w image, by that of the T1w image)",
        "arbitrary",
    ),
    "out_of_range_score": describe_column(
        "Out of range",
        "The larger of the out-of-range distances of image and target; for diffusion series, the "
        "largest exponent applied to a shell, relative to its limit",
        "arbitrary",
    ),
    "out_of_range_source": describe_column(
        "Out of range, image",
        "Distance of the image to the nearest simulated training scan; 1 is the largest "
        "nearest-neighbour distance among the simulated training scans of different subjects",
        "arbitrary",
    ),
    "out_of_range_target": describe_column(
        "Out of range, target",
        "Distance of the target to the nearest simulated training scan, in the same units",
        "arbitrary",
    ),
    "seconds": describe_column("Time", "Processing time of the image", "s"),
}
"""Data dictionary of all columns, in their order."""


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
        The table.

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
    table = scans_table_path(out_dir, image)
    name = output_paths(out_dir, image).harmonized.relative_to(table.parent).as_posix()
    with folder_lock(table.parent):
        rows = {entry["filename"]: entry for entry in read_scans_table(table)}
        rows[name] = {"filename": name, **{key: format_cell(value) for key, value in row.items()}}
        columns = _ordered({column for entry in rows.values() for column in entry})
        write_atomic(table, to_tsv(columns, [rows[key] for key in sorted(rows)]))
        _update_dictionary(table.with_suffix(".json"), columns)
    return table


def scans_table_path(out_dir: Path, image: SourceImage) -> Path:
    """``OUT/sub-X[/ses-Y]/sub-X[_ses-Y]_scans.tsv``."""
    session = f"_ses-{image.session}" if image.session else ""
    return session_folder(out_dir, image) / f"sub-{image.subject}{session}_scans.tsv"


def read_scans_table(path: Path) -> list[dict[str, str]]:
    """Read a scans table as text by column; a missing file has no rows.

    Raises
    ------
    BadData
        It is not a table with the column ``filename``.
    """
    try:
        columns, rows = read_tsv(path)
    except FileNotFoundError:
        return []
    if "filename" not in columns:
        raise BadData(f"{path} is not a table with a column 'filename': delete it and run again.")
    return rows


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
