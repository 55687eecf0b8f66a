"""JSON sidecars that a converter would write for the simulated protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bids_ihf.lab.simulation.epi_scanner import EpiScanner
    from bids_ihf.lab.simulation.protocol import Protocol

Sidecar = dict[str, str | float]

VENDOR_MODELS: dict[str, tuple[str, str]] = {
    "Siemens": ("SIEMENS", "Prisma_fit"),
    "GE": ("GE MEDICAL SYSTEMS", "DISCOVERY MR750"),
    "Philips": ("Philips Medical Systems", "Achieva dStream"),
}
"""Manufacturer and ManufacturersModelName."""

SEQUENCE_CODES: dict[str, tuple[str, str]] = {
    "MPRAGE": ("GR\\IR", "SP\\MP"),
    "SPGR": ("GR", "SS\\SP"),
    "SE": ("SE", "SP"),
    "TSE": ("SE", "SK\\SP"),
    "SPACE": ("SE", "SK\\SP"),
}
"""ScanningSequence and SequenceVariant."""

SEQUENCE_NAMES: dict[tuple[str, str], str] = {
    ("Siemens", "MPRAGE"): "*tfl3d1_16ns",
    ("GE", "MPRAGE"): "efgre3d",
    ("Philips", "MPRAGE"): "T1TFE",
    ("Siemens", "SPACE"): "*spc_282ns",
    ("GE", "SPACE"): "3DFSE",
    ("Philips", "SPACE"): "T2TSE",
}
"""SequenceName of vendor and kind."""


def anatomical_sidecar(protocol: Protocol, *, slice_thickness: float = 1.0) -> Sidecar:
    """Sidecar of an anatomical image; times in seconds, angles in degrees, thickness in mm."""
    scanning, variant = SEQUENCE_CODES[protocol.sequence]
    is_inverted_spin_echo = protocol.inversion_time is not None and scanning == "SE"
    fields: Sidecar = {
        **_scanner_fields(protocol.vendor, protocol.field_strength),
        "MRAcquisitionType": "3D",
        "ScanningSequence": "SE\\IR" if is_inverted_spin_echo else scanning,
        "SequenceVariant": variant,
        "SequenceName": SEQUENCE_NAMES.get(
            (protocol.vendor, protocol.sequence), protocol.sequence.lower()
        ),
        "PulseSequenceType": protocol.sequence,
        "EchoTime": protocol.echo_time,
        "RepetitionTime": protocol.repetition_time,
        "FlipAngle": round(protocol.flip_angle, 1),
        "SliceThickness": slice_thickness,
        "BodyPart": "BRAIN",
        "InstitutionName": "Simulated",
    }
    if protocol.inversion_time is not None:
        fields["InversionTime"] = protocol.inversion_time
    return fields


def diffusion_sidecar(scanner: EpiScanner, slice_thickness: float) -> Sidecar:
    """Sidecar of a diffusion series with phase encoding along the second axis."""
    return {
        **_scanner_fields(scanner.vendor, scanner.field_strength),
        "MRAcquisitionType": "2D",
        "ScanningSequence": "EP",
        "SequenceVariant": "SK",
        "PulseSequenceType": "EPI",
        "EchoTime": scanner.echo_time,
        "RepetitionTime": scanner.repetition_time,
        "FlipAngle": 90,
        "SliceThickness": slice_thickness,
        "PhaseEncodingDirection": "j",
        "TotalReadoutTime": 0.05,
        "BodyPart": "BRAIN",
        "InstitutionName": "Simulated",
    }


def _scanner_fields(vendor: str, field_strength: float) -> Sidecar:
    manufacturer, model = VENDOR_MODELS.get(vendor, (vendor, "Simulated"))
    return {
        "Modality": "MR",
        "Manufacturer": manufacturer,
        "ManufacturersModelName": model,
        "MagneticFieldStrength": field_strength,
    }
