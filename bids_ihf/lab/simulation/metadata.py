"""The JSON sidecar that a converter would write for a protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bids_ihf.lab.simulation.diffusion_session import EpiScanner
    from bids_ihf.lab.simulation.protocol import Protocol

Sidecar = dict[str, str | float]

_MANUFACTURERS: dict[str, tuple[str, str]] = {
    "Siemens": ("SIEMENS", "Prisma_fit"),
    "GE": ("GE MEDICAL SYSTEMS", "DISCOVERY MR750"),
    "Philips": ("Philips Medical Systems", "Achieva dStream"),
}
_CODES: dict[str, tuple[str, str, str]] = {  # ScanningSequence, SequenceVariant, SequenceName
    "MPRAGE": ("GR\\IR", "SK\\SP\\MP", "*tfl3d1_16ns"),
    "BRAVO": ("GR\\IR", "SS\\SP\\MP", "efgre3d"),
    "TFE": ("GR\\IR", "MP", "T1TFE"),
    "SPGR": ("GR", "SS\\SP", "spgr"),
    "TSE": ("SE", "SK\\SP", "*spc_282ns"),
    "CUBE": ("SE", "SK", "3DFSE"),
    "VISTA": ("SE", "SK", "T2TSE"),
}


def anatomical_sidecar(protocol: Protocol, *, slice_thickness: float = 1.0) -> Sidecar:
    """Return BIDS fields: times in seconds, angles in degrees, thickness in mm."""
    maker, model = _MANUFACTURERS.get(protocol.vendor, (protocol.vendor, "Simulated"))
    scanning, variant, name = _CODES[protocol.sequence]
    fields: Sidecar = {
        "Modality": "MR",
        "Manufacturer": maker,
        "ManufacturersModelName": model,
        "MagneticFieldStrength": protocol.field_strength,
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
    """Return BIDS fields of a diffusion series, phase-encoded along the second axis."""
    maker, model = _MANUFACTURERS.get(scanner.vendor, (scanner.vendor, "Simulated"))
    return {
        "Modality": "MR",
        "Manufacturer": maker,
        "ManufacturersModelName": model,
        "MagneticFieldStrength": scanner.field_strength,
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
