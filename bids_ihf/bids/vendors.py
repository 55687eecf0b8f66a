"""Scanner vendors: the many spellings of ``Manufacturer`` normalized to one name."""

from __future__ import annotations

import re

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
