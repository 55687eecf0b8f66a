"""Who made the scanner: the many spellings of ``Manufacturer`` brought to one."""

from __future__ import annotations

import re

UNKNOWN_VENDOR = "unknown"

# Spellings as DICOM headers and dcm2niix give them; matched as whole words, since "GE" is short.
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
    """Bring a ``Manufacturer`` value to one spelling of the vendor's name.

    "SIEMENS" and "Siemens Healthineers" give ``Siemens``, "GE MEDICAL SYSTEMS" gives ``GE``,
    "CANON_MEC" gives ``Canon``.  What is missing, not text or not known gives ``unknown``.
    """
    if not isinstance(manufacturer, str):
        return UNKNOWN_VENDOR
    words = f" {' '.join(re.findall('[a-z]+', manufacturer.lower()))} "
    for vendor, spellings in _VENDOR_SPELLINGS.items():
        if any(f" {spelling} " in words for spelling in spellings):
            return vendor
    return UNKNOWN_VENDOR
