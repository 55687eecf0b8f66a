"""The scanner of an image, by name: what ComBat calls a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bids_ihf.bids.vendors import UNKNOWN_VENDOR


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
