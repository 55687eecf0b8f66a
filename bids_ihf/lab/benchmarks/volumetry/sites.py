"""Real sites with different people: can a classifier name the site of a slice after harmonization?

Slices of IXI, axial through the ventricles, stripped and bias-corrected; the preprocessing goes
with the site, so only sites with one preprocessing are compared.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np

from bids_ihf.bids.images import SourceImage
from bids_ihf.errors import NothingSelected
from bids_ihf.lab.benchmarks.tables import Table
from bids_ihf.lab.benchmarks.volumetry.studies import (
    bids_label,
    image_path,
    measure,
    validation_columns,
    work_folder,
    write_image,
)
from bids_ihf.network.checkpoint import load_model
from bids_ihf.validation.outcomes import Settings
from bids_ihf.validation.results import probe_rows
from bids_ihf.validation.scans import Scan, Study

if TYPE_CHECKING:
    from pathlib import Path

SLICE_NAME = re.compile(r"(?P<person>IXI\d+)-(?P<site>\w+)-\d+-T1\.nii\.gz")
"""Files of the preprocessing that two sites share, named by person and site."""

SCANNERS = {"HH": "Philips 3T (HH)", "IOP": "GE 1.5T (IOP)"}

COPIES = 3
"""Slices that a volume is made of, all equal: the network sees the neighbours of a slice."""

SLICE_HEIGHT_MM, CENTRE_Y_MM = 20.0, -18.0
"""Where the slices lie in the template, about."""


def measure_sites(data: Path, records: Path) -> dict[str, Table]:
    """The table of probes, for harmonization to each of the sites.

    Raises
    ------
    NothingSelected
        The folder has no slices of two sites.
    """
    files = sorted((data / "T1").glob("*.nii.gz"))
    names = {file: match for file in files if (match := SLICE_NAME.fullmatch(file.name))}
    folder = work_folder(records, load_model(None, device="cpu"), *map(str, names))
    scans = []
    for file, match in names.items():
        label = bids_label(match["person"])
        image = _as_volume(file, folder / "dataset", label)
        scans.append(Scan(image, SCANNERS.get(match["site"], match["site"])))
    study = Study("T1w", tuple(scans), "site in the file names")
    if len(study.scanners) < 2:
        raise NothingSelected(f"{data}: no slices T1/IXI...-T1.nii.gz of two sites.")
    settings = Settings(preprocessed=True, source_profiles=True)
    findings = measure(study, tuple(study.scanners), settings, folder / "study")
    return {"site_probes": Table(probe_rows(findings), validation_columns("probes"))}


def _as_volume(file: Path, root: Path, label: str) -> SourceImage:
    """A slice as a thin volume in template orientation, under a BIDS name."""
    path = image_path(root, label)
    if not path.exists():
        image: Any = nib.load(file)
        plane = np.squeeze(image.get_fdata(dtype=np.float32))
        affine = np.eye(4)
        affine[:3, 3] = (*(-0.5 * np.array(plane.shape)), SLICE_HEIGHT_MM)
        affine[1, 3] += CENTRE_Y_MM
        volume = np.repeat(plane[:, :, None], COPIES, axis=2)
        write_image(path, nib.Nifti1Image(volume, affine))
    return SourceImage.from_path(path, root)
