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

SEQUENCE_CODES: dict[str, tuple[str, str, str]] = {
    "MPRAGE": ("GR\\IR", "SK\\SP\\MP", "*tfl3d1_16ns"),
    "BRAVO": ("GR\\IR", "SS\\SP\\MP", "efgre3d"),
    "TFE": ("GR\\IR", "MP", "T1TFE"),
    "SPGR": ("GR", "SS\\SP", "spgr"),
    "TSE": ("SE", "SK\\SP", "*spc_282ns"),
    "CUBE": ("SE", "SK", "3DFSE"),
    "VISTA": ("SE", "SK", "T2TSE"),
}
"""ScanningSequence, SequenceVariant and SequenceName."""


def anatomical_sidecar(protocol: Protocol, *, slice_thickness: float = 1.0) -> Sidecar:
    """Sidecar of an anatomical image; times in seconds, angles in degrees, thickness in mm."""
    scanning, variant, name = SEQUENCE_CODES[protocol.sequence]
    fields: Sidecar = {
        **_scanner_fields(protocol.vendor, protocol.field_strength),
        "MRAcquisitionType": "3D",
        "ScanningSequence": scanning,
        "SequenceVariant": variant,
        "SequenceName": name,
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
