"""The inputs: a simulated session, slabs of its scan, and a large dataset of small files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np

from bids_ihf.lab.simulation.demo_dataset import IMAGE_SUFFIXES, write_demo_dataset
from bids_ihf.lab.simulation.demo_series import DiffusionScheme

if TYPE_CHECKING:
    from collections.abc import Sequence

SESSION_VENDOR = "GE"
WEIGHTED_VOLUMES, UNWEIGHTED_VOLUMES, SERIES_VOXEL_MM = 30, 3, 2.0
"""Of the diffusion series; b = 1000 s/mm2."""

SLAB_SLICES = 8
"""Slices of 1 mm in a slab, whose run costs what an image costs besides its network."""

DATASET_DESCRIPTION = {"Name": "speed", "BIDSVersion": "1.10.0", "DatasetType": "raw"}


def make_session(folder: Path, *, zoom: float, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> Path:
    """Write the images of one simulated session if missing; the T1w's path."""
    existing = sorted(folder.glob("sub-*/**/anat/*_T1w.nii.gz"))
    if existing:
        return existing[0]
    volumes: dict[float, int] = {0: UNWEIGHTED_VOLUMES, 1000: WEIGHTED_VOLUMES}
    scheme = DiffusionScheme(volumes, max(SERIES_VOXEL_MM, zoom))
    written = write_demo_dataset(
        folder, subjects=1, zoom=zoom, vendors=[SESSION_VENDOR], suffixes=suffixes, scheme=scheme
    )
    return next(path for path in written if path.name.endswith("_T1w.nii.gz"))


def make_directions(folder: Path, series: Path, count: int) -> Path:
    """A dataset of one series with ``count`` directions, repeated or left out from ``series``.

    The volumes without weighting stay.
    """
    stem = series.name.removesuffix(".nii.gz")
    b_values = np.loadtxt(series.with_name(f"{stem}.bval"), ndmin=1)
    directions = np.loadtxt(series.with_name(f"{stem}.bvec"))
    weighted = np.flatnonzero(b_values > 0)
    index = np.concatenate([np.flatnonzero(b_values == 0), np.resize(weighted, count)])
    image = nibabel.Nifti1Image.from_filename(series)
    root = _new_dataset(folder)
    dwi = root / "sub-01" / "dwi"
    dwi.mkdir(parents=True)
    data = np.asarray(image.dataobj)[..., index]
    nibabel.save(nibabel.Nifti1Image(data, image.affine, image.header), dwi / "sub-01_dwi.nii.gz")
    np.savetxt(dwi / "sub-01_dwi.bval", b_values[None, index], fmt="%g")
    np.savetxt(dwi / "sub-01_dwi.bvec", directions[:, index], fmt="%.6f")
    shutil.copyfile(series.with_name(f"{stem}.json"), dwi / "sub-01_dwi.json")
    return root


def make_slabs(folder: Path, scan: Path, mask: np.ndarray, count: int) -> Path:
    """A dataset of ``count`` subjects, each with the same skull-stripped axial slab of a scan.

    ``mask`` (X, Y, Z) is the scan's brain; the slab is around its largest slice.
    """
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(mask.astype(np.uint8), _affine(scan)))
    brain = np.asarray(image.dataobj) > 0
    voxels = nibabel.as_closest_canonical(nibabel.load(scan))
    start = int(np.argmax(brain.sum(axis=(0, 1)))) - SLAB_SLICES // 2
    slab_image = voxels.slicer[:, :, start : start + SLAB_SLICES]
    data = np.asarray(slab_image.dataobj) * brain[:, :, start : start + SLAB_SLICES]
    slab = nibabel.Nifti1Image(data.astype(np.int16), slab_image.affine)
    root = _new_dataset(folder)
    first = root / "slab.nii.gz"
    nibabel.save(slab, first)
    for number in range(1, count + 1):
        _write_subject(root, f"{number:04d}", {"T1w": first})
    first.unlink()
    return root


def make_participants(folder: Path, scan: Path, count: int) -> Path:
    """A dataset of ``count`` subjects with the same T1w each."""
    root = _new_dataset(folder)
    for number in range(1, count + 1):
        _write_subject(root, f"{number:04d}", {"T1w": scan})
    return root


def make_large_dataset(folder: Path, count: int) -> Path:
    """A dataset of ``count`` subjects with a T1w and a T2w each, of 8 x 8 x 8 voxels."""
    root = _new_dataset(folder)
    first = root / "small.nii.gz"
    data = np.random.default_rng(0).integers(1, 1000, (8, 8, 8)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), first)
    for number in range(1, count + 1):
        _write_subject(root, f"{number:04d}", {"T1w": first, "T2w": first})
    first.unlink()
    return root


def _affine(scan: Path) -> np.ndarray:
    return np.asarray(nibabel.Nifti1Image.from_filename(scan).affine)


def _new_dataset(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "dataset_description.json").write_text(json.dumps(DATASET_DESCRIPTION))
    (folder / "README").write_text("Simulated, for measuring time and memory.\n")
    return folder


def _write_subject(root: Path, label: str, images: dict[str, Path]) -> None:
    anat = root / f"sub-{label}" / "anat"
    anat.mkdir(parents=True)
    for suffix, source in images.items():
        path = anat / f"sub-{label}_{suffix}.nii.gz"
        shutil.copyfile(source, path)
        path.with_name(f"sub-{label}_{suffix}.json").write_text(
            json.dumps({"Manufacturer": "GE MEDICAL SYSTEMS"})
        )
