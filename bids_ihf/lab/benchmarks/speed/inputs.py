"""What is measured on: simulated sessions, slabs of one, and a large dataset of small files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np

SUBJECT, VENDOR = "01", "GE"
DIRECTIONS, UNWEIGHTED, SERIES_ZOOM = 30, 3, 2.0
"""The diffusion series: directions at b 1000, volumes without weighting, voxel size (mm)."""

SLAB = 8
"""Slices of 1 mm that a slab has: its run costs what an image costs beside its network."""

DESCRIPTION = {"Name": "speed", "BIDSVersion": "1.10.0", "DatasetType": "raw"}


def make_session(folder: Path, *, zoom: float) -> Path:
    """T1w, T2w and diffusion series of one simulated session, unless they are there; the T1w."""
    from bids_ihf.lab.simulation.demo_dataset import write_demo_dataset
    from bids_ihf.lab.simulation.demo_series import DiffusionScheme

    found = sorted(folder.glob("sub-*/**/anat/*_T1w.nii.gz"))
    if found:
        return found[0]
    scheme = DiffusionScheme({0: UNWEIGHTED, 1000: DIRECTIONS}, max(SERIES_ZOOM, zoom))
    written = write_demo_dataset(folder, subjects=1, zoom=zoom, vendors=[VENDOR], scheme=scheme)
    return next(path for path in written if path.name.endswith("_T1w.nii.gz"))


def make_slabs(folder: Path, scan: Path, mask: np.ndarray, count: int) -> Path:
    """A dataset of ``count`` people, each with the same stripped slab of a scan.

    ``mask`` (X, Y, Z) is the scan's brain; the slab lies in its middle, across the body's axis.
    """
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(mask.astype(np.uint8), _affine(scan)))
    brain = np.asarray(image.dataobj) > 0
    voxels = nibabel.as_closest_canonical(nibabel.load(scan))
    start = int(np.argmax(brain.sum(axis=(0, 1)))) - SLAB // 2
    part = voxels.slicer[:, :, start : start + SLAB]
    data = np.asarray(part.dataobj) * brain[:, :, start : start + SLAB]
    slab = nibabel.Nifti1Image(data.astype(np.int16), part.affine)
    root = _root(folder)
    first = root / "slab.nii.gz"
    nibabel.save(slab, first)
    for number in range(1, count + 1):
        _person(root, f"{number:04d}", {"T1w": first})
    first.unlink()
    return root


def make_crowd(folder: Path, count: int) -> Path:
    """A dataset of ``count`` people with a T1w and a T2w each, of 8 x 8 x 8 voxels."""
    root = _root(folder)
    first = root / "small.nii.gz"
    data = np.random.default_rng(0).integers(1, 1000, (8, 8, 8)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), first)
    for number in range(1, count + 1):
        _person(root, f"{number:04d}", {"T1w": first, "T2w": first})
    first.unlink()
    return root


def _affine(scan: Path) -> np.ndarray:
    return np.asarray(nibabel.Nifti1Image.from_filename(scan).affine)


def _root(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "dataset_description.json").write_text(json.dumps(DESCRIPTION))
    (folder / "README").write_text("Simulated, for measuring time and memory.\n")
    return folder


def _person(root: Path, label: str, images: dict[str, Path]) -> None:
    anat = root / f"sub-{label}" / "anat"
    anat.mkdir(parents=True)
    for suffix, source in images.items():
        path = anat / f"sub-{label}_{suffix}.nii.gz"
        shutil.copyfile(source, path)
        path.with_name(f"sub-{label}_{suffix}.json").write_text(
            json.dumps({"Manufacturer": "GE MEDICAL SYSTEMS"})
        )
