"""Small BIDS datasets for tests."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np

SCANS = {
    "sub-01/ses-A/anat/sub-01_ses-A_T1w": "SIEMENS",
    "sub-01/ses-A/anat/sub-01_ses-A_T2w": "SIEMENS",
    "sub-01/ses-B/anat/sub-01_ses-B_T1w": "GE MEDICAL SYSTEMS",
    "sub-01/ses-B/anat/sub-01_ses-B_T2w": "GE MEDICAL SYSTEMS",
    "sub-02/anat/sub-02_T1w": None,
    "sub-02/dwi/sub-02_dwi": "Philips Medical Systems",
}


def write_image(path: Path, shape: tuple[int, ...] = (8, 8, 8)) -> None:
    """A NIfTI image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(0).integers(1, 1000, shape).astype(np.int16)
    image = nibabel.Nifti1Image(data, np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def write_dataset(root: Path) -> Path:
    """Write ``SCANS`` with sidecars naming the manufacturer, where it is known."""
    root.mkdir(parents=True)
    description = {"Name": "test", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text(
        "A dataset for tests, made of noise, without any meaning at all.\n"
    )
    for stem, manufacturer in SCANS.items():
        write_image(root / f"{stem}.nii.gz", (8, 8, 8, 2) if "dwi" in stem else (8, 8, 8))
        if manufacturer:
            (root / f"{stem}.json").write_text(json.dumps({"Manufacturer": manufacturer}))
    (root / "sub-02/dwi/sub-02_dwi.bval").write_text("0 1000\n")
    (root / "sub-02/dwi/sub-02_dwi.bvec").write_text("0 1\n0 0\n0 0\n")
    return root
