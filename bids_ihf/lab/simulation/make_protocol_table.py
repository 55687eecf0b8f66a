"""Write ``protocols.tsv``, the real protocols that simulated scanners are drawn from.

Run as ``python -m bids_ihf.lab.simulation.make_protocol_table ACQUISITIONS.tsv``.  The input has a
row for each protocol of a real scanner, with the fields of the BIDS sidecars that state it
(RepetitionTime, EchoTime, ...) and its source.  What the simulation uses is kept; what stands in
a sidecar but cannot be true is left out, see `is_credible`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.bids.scanners import normalize_vendor
from bids_ihf.io.tsv import MISSING_VALUE, read_tsv, to_tsv
from bids_ihf.lab.simulation.protocol_table import COLUMNS, PROTOCOL_TABLE
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_ihf.io.tsv import Cell

    Record = dict[str, Cell]

MAX_PULSE_INTERVAL_S = 0.1
"""A repetition time of a gradient echo below this is the time between two pulses of the train."""

MIN_FLAIR_INVERSION_TIME_S = 1.62
"""Spin echoes with a longer inversion time null CSF; shorter ones are T1-weighted."""

FIELD_OF_VIEW_MM = {2: 230.0, 3: 256.0}
"""Typical field of view along the phase encoding, by the dimensions of the encoding; no sidecar
states it."""

CLINICAL_DATASETS = ("SOOP",)
"""Clinical datasets, from which no target is taken."""

ONE_PROTOCOL_DATASETS = ("spine-generic",)
"""Studies that prescribed one protocol to dozens of sites; it is no target."""

TARGET_FIELD_T = 3.0
"""Field strength of the targets."""

MAX_TARGET_THICKNESS_MM = 1.2
"""Largest thickness of the slices of a target."""


def number(row: Mapping[str, str], column: str) -> float | None:
    """The number in a cell, the last of several; None where there is none."""
    try:
        value = float(row[column].split(",")[-1])
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def as_float(value: Cell) -> float:
    """A number of a record; NaN where it is missing."""
    return float(value) if value else float("nan")


def sequence_and_modality(row: Mapping[str, str]) -> tuple[str, str]:
    """Kind of the pulse sequence, and the modality by contrast."""
    if row["suffix"] == "dwi":
        return "EPI", "dwi"
    scanning = f"{row['ScanningSequence']} {row['PulseSequence']}".upper()
    inversion_time = number(row, "InversionTime")
    three_dimensional = row["MRAcquisitionType"] == "3D"
    if row["suffix"] == "T1w":
        if "SE" in scanning.split()[0].replace("\\", "_").split("_") or "TSE" in scanning:
            variable = "SPC" in scanning or three_dimensional
            return ("SPACE" if variable else "TSE" if inversion_time else "SE"), "T1w"
        flash = "FLASH" in scanning or (number(row, "FlipAngle") or 0) >= 25
        return ("SPGR" if flash else "MPRAGE"), "T1w"
    inverted = (inversion_time or 0) > MIN_FLAIR_INVERSION_TIME_S
    modality = "FLAIR" if inverted or row["suffix"] == "FLAIR" else "T2w"
    return ("SPACE" if three_dimensional else "TSE"), modality


def is_credible(record: Record) -> bool:
    """Whether the times can be those of an image of the modality.

    Left out are T1w with the numbers of an EPI or of a T2w, echo times off by a factor of ten,
    FLAIR files with the inversion time of a T1-weighted image, and protocols without an echo or a
    repetition time.
    """
    echo_time, modality = record["echo_time"], record["modality"]
    if echo_time is None or not (record["repetition_time"] or record["pulse_interval"]):
        return False
    longest = {"T1w": 0.03, "T2w": 0.7, "FLAIR": 0.6, "dwi": 0.2}[str(modality)]
    if as_float(echo_time) > longest:
        return False
    if modality == "FLAIR":
        inversion_time = record["inversion_time"]
        return as_float(inversion_time) > MIN_FLAIR_INVERSION_TIME_S
    return True


def convert(row: Mapping[str, str]) -> Record:
    """A row of the table from one of the input."""
    sequence, modality = sequence_and_modality(row)
    dimensions = 3 if row["MRAcquisitionType"] == "3D" or sequence == "MPRAGE" else 2
    repetition_time, excitation = number(row, "RepetitionTime"), row["RepetitionTimeOther"]
    if repetition_time is None and excitation.startswith("Excitation"):
        repetition_time = float(excitation.split()[-1])
    pulse_interval = None
    if sequence == "MPRAGE" and repetition_time and repetition_time < MAX_PULSE_INTERVAL_S:
        repetition_time, pulse_interval = None, repetition_time
    if sequence == "MPRAGE" and row["EchoSpacing"] != MISSING_VALUE:
        pulse_interval = number(row, "EchoSpacing")
    pixel = _acquired_pixel(row, dimensions)
    thickness = number(row, "SliceThickness")
    if thickness is None and row["VoxelSize"] != MISSING_VALUE:
        thickness = max(float(size) for size in row["VoxelSize"].split("x"))
    hint = row["PrescanNormHint"]
    field_strength = number(row, "MagneticFieldStrength")
    return {
        "source": row["source"],
        "dataset": row["dataset"],
        "site": row["site"],
        "vendor": normalize_vendor(row["Manufacturer"]),
        "model": row["ManufacturersModelName"],
        "field_strength": {6.98: 7.0, 1.0: 1.5}.get(field_strength or 0, field_strength),
        "modality": modality,
        "sequence": sequence,
        "dimensions": dimensions,
        "echo_time": number(row, "EchoTime"),
        "repetition_time": repetition_time,
        "pulse_interval": pulse_interval,
        "inversion_time": number(row, "InversionTime"),
        "flip_angle": number(row, "FlipAngle"),
        "echoes": number(row, "EchoTrainLength"),
        "thickness": thickness,
        "spacing": number(row, "SpacingBetweenSlices"),
        "pixel": pixel,
        "acceleration": number(row, "ParallelReductionFactorInPlane"),
        "partial_fourier": number(row, "PartialFourier"),
        "normalized": ("yes" if "NORM" in hint else "no") if row["ImageType"] != "n/a" else None,
        "b_values": row["bvalues"] if modality == "dwi" else None,
    }


def _acquired_pixel(row: Mapping[str, str], dimensions: int) -> float | None:
    """Acquired pixel along the phase encoding, mm."""
    if row["VoxelSize"] != MISSING_VALUE:
        return float(sorted(row["VoxelSize"].split("x"), key=float)[1])
    lines = number(row, "MatrixPE")
    if not lines:
        return None
    phase_view = min(number(row, "PercentPhaseFOV") or 100.0, 100.0) / 100
    return round(FIELD_OF_VIEW_MM[dimensions] * phase_view / lines, 3)


def mark_targets(records: Sequence[Record]) -> None:
    """Mark the typical research protocol of each vendor and modality: the 3D one at 3 T whose
    logarithms of times and angle lie nearest to their medians over such protocols."""
    for vendor in BUILTIN_VENDORS:
        for modality in ("T1w", "T2w", "FLAIR"):
            group = [r for r in records if _may_be_target(r, vendor, modality)]
            columns = ("echo_time", "repetition_time", "pulse_interval", "inversion_time",
                       "flip_angle")  # fmt: skip
            table = np.array([[as_float(r[c]) for c in columns] for r in group])
            logs = np.log(table[:, ~np.isnan(table).all(axis=0)])
            distance = np.abs(logs - np.nanmedian(logs, axis=0))
            # A silent field counts as a deviation of a tenth.
            nearest = int(np.nan_to_num(distance, nan=0.1).sum(axis=1).argmin())
            group[nearest]["target"] = "yes"


def _may_be_target(record: Record, vendor: str, modality: str) -> bool:
    excluded = (*CLINICAL_DATASETS, *ONE_PROTOCOL_DATASETS)
    return (
        (record["vendor"], record["modality"]) == (vendor, modality)
        and record["dimensions"] == 3
        and record["field_strength"] == TARGET_FIELD_T
        and as_float(record["thickness"]) <= MAX_TARGET_THICKNESS_MM
        and record["sequence"] in ("MPRAGE", "SPACE")
        and (modality == "T1w") == (record["sequence"] == "MPRAGE")
        and not any(name in str(record["dataset"]) for name in excluded)
    )


def main(acquisitions: Path) -> None:
    """Write the table beside this module."""
    _, rows = read_tsv(acquisitions)
    kept = [row for row in rows if row["suffix"] in ("T1w", "T2w", "FLAIR", "dwi")]
    kept = [row for row in kept if not _is_spinal_diffusion(row)]
    records = [record for record in map(convert, kept) if is_credible(record)]
    mark_targets(records)
    PROTOCOL_TABLE.write_bytes(to_tsv(COLUMNS, [{"target": "no", **r} for r in records]))


def _is_spinal_diffusion(row: Mapping[str, str]) -> bool:
    return row["suffix"] == "dwi" and ("spinal" in row["notes"] or "phantom" in row["notes"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
