"""Names of scanners and of their vendors."""

from __future__ import annotations

import pytest

from bids_ihf.bids.scanners import normalize_vendor, scanner_label


@pytest.mark.parametrize(
    ("metadata", "vendor", "label"),
    [
        ({"ManufacturersModelName": "Signa  HDxt"}, "GE", "GE Signa HDxt"),
        ({"MagneticFieldStrength": 2.89362}, "Siemens", "Siemens 2.9T"),
        ({"MagneticFieldStrength": 0.064}, "Hyperfine", "Hyperfine 0.064T"),
        ({"MagneticFieldStrength": 15000}, "Philips", "Philips"),
        ({"DeviceSerialNumber": 41230}, "unknown", "41230"),
        ({"MagneticFieldStrength": "3"}, "Siemens", "Siemens 3T"),
        ({"ManufacturersModelName": None, "MagneticFieldStrength": [3]}, "unknown", None),
        ({}, "unknown", None),
    ],
)
def test_label(metadata: dict[str, object], vendor: str, label: str | None) -> None:
    assert scanner_label(metadata, vendor) == label


@pytest.mark.parametrize(
    ("written", "vendor"),
    [
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers", "Siemens"),
        ("Siemens HealthCare GmbH", "Siemens"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("GE Healthcare", "GE"),
        ("General Electric", "GE"),
        ("GE", "GE"),
        ("Philips Medical Systems", "Philips"),
        ("PHILIPS-ABC", "Philips"),
        ("UIH", "UIH"),
        ("Shanghai United Imaging Healthcare Co., Ltd.", "UIH"),
        ("CANON_MEC", "Canon"),
        ("TOSHIBA_MEC", "Toshiba"),
        ("Hitachi Medical Corporation", "Hitachi"),
        ("Gemini Imaging", "unknown"),
        ("", "unknown"),
        ("n/a", "unknown"),
        (None, "unknown"),
        (3, "unknown"),
        (["SIEMENS"], "unknown"),
    ],
)
def test_vendor(written: object, vendor: str) -> None:
    assert normalize_vendor(written) == vendor
