from __future__ import annotations

import pytest

from bids_ihf.bids.vendors import normalize_vendor


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
