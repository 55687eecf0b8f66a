from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bids_ihf.bids.contrast import contrast_by_sidecar
from bids_ihf.bids.images import SourceImage


@pytest.mark.parametrize(
    ("suffix", "metadata", "modality"),
    [
        # ON-Harmony (OpenNeuro ds004712): Siemens Prisma, Philips Ingenia, GE MR750
        ("T2w", {"InversionTime": 1.8, "RepetitionTime": 5}, "FLAIR"),
        ("T2w", {"InversionTime": 1.65, "EchoTime": 0.289}, "FLAIR"),
        ("T2w", {"InversionTime": 2.71337, "RepetitionTime": 12}, "FLAIR"),
        ("T2w", {"InversionTime": "1.8"}, "FLAIR"),
        # fat suppression by inversion
        ("T2w", {"InversionTime": 0.2}, "T2w"),
        ("T2w", {"RepetitionTime": 3.2, "EchoTime": 0.565}, "T2w"),
        ("T2w", {"InversionTime": [1.8]}, "T2w"),
        ("T2w", {"InversionTime": "n/a"}, "T2w"),
        ("T2w", {"InversionTime": True}, "T2w"),
        ("FLAIR", {"InversionTime": 1.607, "RepetitionTime": 5}, "FLAIR"),
        ("FLAIR", {"InversionTime": 2.8, "RepetitionTime": 11}, "FLAIR"),
        ("FLAIR", {}, "FLAIR"),
        # SOOP (OpenNeuro ds004889): T1 FLAIR, BRAVO
        ("FLAIR", {"InversionTime": 0.95, "RepetitionTime": 2.5}, "T1w"),
        ("FLAIR", {"InversionTime": 0.45, "RepetitionTime": 0.0085}, "T1w"),
        ("T1w", {"InversionTime": 1.6, "RepetitionTime": 4.1}, "T1w"),
        ("dwi", {"InversionTime": 2.0}, "dwi"),
    ],
)
def test_the_sidecar_tells_what_the_name_does_not(
    suffix: str, metadata: dict[str, Any], modality: str
) -> None:
    found, reason = contrast_by_sidecar(suffix, metadata)
    assert found == modality
    assert (reason is None) == (found == suffix)
    folder = "dwi" if suffix == "dwi" else "anat"
    path = Path(f"/data/sub-1/{folder}/sub-1_{suffix}.nii.gz")
    image = SourceImage.from_path(path, Path("/data"), metadata)
    assert (image.modality, image.suffix) == (modality, suffix)


def test_the_reason_is_named() -> None:
    assert contrast_by_sidecar("T2w", {"InversionTime": 1.65})[1] == "InversionTime 1.65 s"
    assert contrast_by_sidecar("FLAIR", {"RepetitionTime": 0.0085})[1] == "RepetitionTime 0.0085 s"
