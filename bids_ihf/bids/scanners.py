"""Scanners: the many spellings of their vendors, and the name that ComBat calls a batch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNKNOWN_VENDOR = "unknown"

# Spellings of DICOM headers and dcm2niix; matched as whole words, since "GE" is short.
_VENDOR_SPELLINGS = {
    "Siemens": ("siemens",),
    "GE": ("ge", "gems", "gehc", "general electric"),
    "Philips": ("philips", "phillips"),
    "UIH": ("uih", "united imaging"),
    "Canon": ("canon",),
    "Toshiba": ("toshiba",),
    "Hitachi": ("hitachi",),
    "Fujifilm": ("fujifilm",),
    "Hyperfine": ("hyperfine",),
    "Bruker": ("bruker",),
    "Varian": ("varian",),
    "Agilent": ("agilent",),
    "Neusoft": ("neusoft",),
    "Esaote": ("esaote",),
    "Marconi": ("marconi",),
    "Picker": ("picker",),
    "MR Solutions": ("mr solutions", "mrsolutions"),
}


def normalize_vendor(manufacturer: object) -> str:
    """Return the vendor's name for a ``Manufacturer`` value.

    What is missing, not text or not recognized gives ``unknown``.

    >>> [normalize_vendor(name) for name in ("SIEMENS", "GE MEDICAL SYSTEMS", "CANON_MEC", None)]
    ['Siemens', 'GE', 'Canon', 'unknown']
    """
    if not isinstance(manufacturer, str):
        return UNKNOWN_VENDOR
    text = f" {' '.join(re.findall('[a-z]+', manufacturer.lower()))} "
    for vendor, spellings in _VENDOR_SPELLINGS.items():
        if any(f" {spelling} " in text for spelling in spellings):
            return vendor
    return UNKNOWN_VENDOR


def scanner_label(metadata: Mapping[str, Any], vendor: str = UNKNOWN_VENDOR) -> str | None:
    """Vendor, model, field strength and serial number, as far as the sidecar has them.

    None where it has nothing but perhaps the field strength: that is no scanner.

    >>> fields = {"ManufacturersModelName": "Prisma_fit", "MagneticFieldStrength": 3}
    >>> scanner_label(fields, "Siemens")
    'Siemens Prisma_fit 3T'
    >>> scanner_label({"MagneticFieldStrength": 3}) is None
    True
    """
    texts = [] if vendor in (UNKNOWN_VENDOR, "n/a") else [vendor]
    texts += _texts(metadata, "ManufacturersModelName")
    serial = _texts(metadata, "DeviceSerialNumber")
    if not texts and not serial:
        return None
    return " ".join([*texts, *_field_strength(metadata), *serial])


def _texts(metadata: Mapping[str, Any], key: str) -> list[str]:
    """A field as a list of words; empty if it is missing."""
    value = metadata.get(key)
    return str(value).split() if isinstance(value, str | int) else []


def _field_strength(metadata: Mapping[str, Any]) -> list[str]:
    """The field strength in tesla, rounded as scanners are named; empty if it is missing."""
    value = metadata.get("MagneticFieldStrength")
    try:
        tesla = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return []
    return [f"{round(tesla, 1 if tesla >= 1 else 3):g}T"] if 0 < tesla < 100 else []
