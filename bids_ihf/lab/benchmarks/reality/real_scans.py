"""Real scans of a folder: which there are, and their slices with brain, bias and tissue prior."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import asdict, evolve, frozen
from scipy import ndimage

from bids_ihf.errors import BadData
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.nifti import open_image, read_volume
from bids_ihf.io.paths import file_stem
from bids_ihf.lab.benchmarks.reality.measured_slices import (
    MAX_SLAB_SLICES,
    MeasuredSlices,
    slices_of_volume,
)
from bids_ihf.preprocessing.bias_field import bias_field
from bids_ihf.preprocessing.brain_mask import find_brain, has_signal

if TYPE_CHECKING:
    import nibabel as nib

LOGGER = logging.getLogger(__name__)

CONTRAST_PATTERN = re.compile(r"[_-](T1w?|T2w?|FLAIR)(?:_out|_img|_img_fcm)?$")
"""End of a file's stem that says its contrast: BIDS suffixes, and IXI's names."""

SUFFIXES = {"T1": "T1w", "T1w": "T1w", "T2": "T2w", "T2w": "T2w", "FLAIR": "FLAIR"}


@frozen
class RealScan:
    """A file, the dataset or site it belongs to, its contrast, and the T1w of its session."""

    path: Path
    dataset: str
    modality: str
    t1w: Path | None

    def t1w_scan(self) -> RealScan:
        """The T1w of the session; the scan itself if there is none."""
        return evolve(self, path=self.t1w or self.path, modality="T1w", t1w=None)


def find_scans(data_dir: Path) -> list[RealScan]:
    """T1w, T2w and FLAIR images below a folder, by their names.

    Raises
    ------
    BadData
        There are none.
    """
    scans = []
    for path in sorted(data_dir.rglob("*.nii.gz")):
        match = CONTRAST_PATTERN.search(file_stem(path))
        if match is None:
            continue
        modality = SUFFIXES[match[1]]
        twin = path.with_name(path.name.replace(f"_{modality}.", "_T1w."))
        t1w = twin if modality != "T1w" and twin != path and twin.is_file() else None
        scans.append(RealScan(path, dataset_of(path.relative_to(data_dir)), modality, t1w))
    if not scans:
        raise BadData(f"{data_dir}: has no *_T1w.nii.gz, *_T2w.nii.gz or *_FLAIR.nii.gz.")
    return scans


def dataset_of(path: Path) -> str:
    """Dataset and, where names tell it, site, session or group of people of a file.

    >>> dataset_of(Path("bids/sub-lh01/anat/sub-lh01_T1w.nii.gz"))
    'bids lh'
    >>> dataset_of(Path("ixi-slices/T1/IXI023-Guys-0699-T1_out.nii.gz"))
    'ixi-slices Guys'
    """
    top = path.parts[0] if len(path.parts) > 1 else ""
    name = path.name
    for pattern in (r"_ses-([A-Za-z0-9]+)", r"^sub-([A-Za-z]+)", r"^IXI\d+-([A-Za-z]+)"):
        match = re.search(pattern, name)
        if match:
            return f"{top} {match[1]}".strip()
    return top


def load_slices(scan: RealScan, cache: Path) -> MeasuredSlices:
    """The slices of a scan; brain, tissues and bias are found once and then read from `cache`.

    Whole volumes have the product's brain mask, 2 mm tissue fractions and N4.  A slice or a slab
    of few has none of them: all its signal is brain, and its intensities are taken as they are.
    """
    key = hashlib.sha256(f"{scan.path.resolve()} {scan.path.stat().st_mtime_ns}".encode())
    cached = cache / f"{file_stem(scan.path)}-{key.hexdigest()[:12]}.npz"
    if cached.is_file():
        with np.load(cached, allow_pickle=False) as arrays:
            stored = {name: arrays[name] for name in arrays.files}
        for name in ("modality", "voxel_class"):
            stored[name] = str(stored[name])
        return MeasuredSlices(**{"prior": None, **stored})
    LOGGER.info("Preparing %s", scan.path.name)
    slices = _prepare(scan)
    buffer = io.BytesIO()
    values = asdict(slices, recurse=False)
    np.savez_compressed(buffer, **{name: v for name, v in values.items() if v is not None})
    write_atomic(cached, buffer.getvalue())
    return slices


def _prepare(scan: RealScan) -> MeasuredSlices:
    image = open_image(scan.path)
    thinnest = min(image.shape) if len(image.shape) > 2 else 1
    if thinnest <= MAX_SLAB_SLICES:
        return _single_slice(image, scan.modality)
    volume = read_volume(scan.path)
    brain = find_brain(volume.data, volume.affine)
    if not brain.mask.any():
        raise BadData(f"{volume.path}: no brain is found.")
    field = bias_field(volume.data, volume.affine, brain.mask)
    return slices_of_volume(
        volume.data, field, brain.mask, brain.segmentation, volume.affine, scan.modality
    )


def _single_slice(image: nib.Nifti1Image, modality: str) -> MeasuredSlices:
    """The first of the slices of a slab; its other axes are those of the slice."""
    data = np.asarray(image.get_fdata(dtype=np.float32))
    zooms = np.asarray(image.header.get_zooms(), dtype=np.float64)
    if data.ndim > 2:
        axis = int(np.argmin(data.shape))
        data = data.take(0, axis=axis)
        zooms = np.delete(zooms, axis)
    signal = ndimage.binary_fill_holes(ndimage.binary_opening(has_signal(data)))
    plane = np.ascontiguousarray(data)[:, :, None]
    return MeasuredSlices(
        modality, "slice", plane, plane, np.asarray(signal)[:, :, None], None,
        np.append(zooms[:2], 1.0),
    )  # fmt: skip
