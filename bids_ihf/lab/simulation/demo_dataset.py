"""A simulated traveling-subject dataset of three vendors, as raw BIDS."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import nibabel as nib
from isal import igzip

from bids_ihf.bids.names import ANATOMICAL_MODALITIES
from bids_ihf.lab.simulation.demo_files import dataset_files
from bids_ihf.lab.simulation.demo_session import DemoSession
from bids_ihf.lab.simulation.gradient_scheme import fsl_text
from bids_ihf.lab.simulation.template_head import draw_template_head
from bids_ihf.pipeline.run_log import NOTICE_LEVEL
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bids_ihf.lab.simulation.demo_series import DemoSeries, DiffusionScheme
    from bids_ihf.lab.simulation.demo_session import DemoImage
    from bids_ihf.lab.simulation.template_head import TemplateHead

LOGGER = logging.getLogger(__name__)

IMAGE_SUFFIXES = (*ANATOMICAL_MODALITIES, "dwi")
"""Kinds of images of a session."""


def write_demo_dataset(
    out_dir: Path,
    *,
    subjects: int = 2,
    seed: int = 0,
    zoom: float = 1.0,
    vendors: Sequence[str] = BUILTIN_VENDORS,
    suffixes: Sequence[str] = IMAGE_SUFFIXES,
    scheme: DiffusionScheme | None = None,
) -> list[Path]:
    """Write a raw BIDS dataset: images of each subject on each vendor's scanner.

    Existing files of the same names are replaced; the same arguments give the same files.

    Parameters
    ----------
    zoom
        Voxel size, mm.
    suffixes
        Kinds of images: T1w, T2w, FLAIR, dwi; all by default.
    scheme
        Scheme of the diffusion series; that of each vendor by default.

    Returns
    -------
    Paths of the images.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, text in dataset_files(subjects, zoom).items():
        (out_dir / name).write_text(text, encoding="utf-8")
    head = draw_template_head()
    written: list[Path] = []
    total = subjects * len(vendors) * len(set(suffixes))
    for subject in range(1, subjects + 1):
        for vendor in vendors:
            session = DemoSession(subject, vendor, seed, zoom)
            for path in _write_session(out_dir, session, head, suffixes, scheme):
                written.append(path)
                LOGGER.log(NOTICE_LEVEL, "%d/%d %s: simulated", len(written), total, path.name)
    return written


def _write_session(
    out_dir: Path,
    session: DemoSession,
    head: TemplateHead,
    suffixes: Sequence[str],
    scheme: DiffusionScheme | None,
) -> Iterator[Path]:
    """Write all images of a session, one by one; its anatomy is freed with the last."""
    anatomy = session.anatomy(head)
    for modality in ANATOMICAL_MODALITIES:
        if modality not in suffixes:
            continue
        image, _ = session.scan(modality, anatomy)
        path = _image_path(out_dir, session, "anat", modality)
        _write_image(path, image)
        yield path
    if "dwi" not in suffixes:
        return
    series = session.series(anatomy, scheme)
    path = _image_path(out_dir, session, "dwi", "dwi")
    _write_image(path, series)
    stem = path.name.removesuffix(".nii.gz")
    for extension, content in zip((".bval", ".bvec"), fsl_text(series.gradients), strict=True):
        path.with_name(stem + extension).write_bytes(content)
    yield path


def _image_path(out_dir: Path, session: DemoSession, datatype: str, suffix: str) -> Path:
    subject_label, session_label = f"sub-{session.subject:02d}", f"ses-{session.vendor.lower()}"
    folder = out_dir / subject_label / session_label / datatype
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{subject_label}_{session_label}_{suffix}.nii.gz"


def _write_image(path: Path, image: DemoImage | DemoSeries) -> None:
    """Write an image or series and its JSON sidecar; without a time stamp, so that the same seed
    gives the same file."""
    nifti = nib.Nifti1Image(image.data, image.affine)
    nifti.header.set_xyzt_units("mm", "sec")
    nifti.set_sform(image.affine, code="scanner")
    nifti.set_qform(image.affine, code="scanner")
    if image.data.ndim == 4:
        nifti.header["pixdim"][4] = image.metadata["RepetitionTime"]
    path.write_bytes(igzip.compress(nifti.to_bytes(), 1, mtime=0))
    text = json.dumps(image.metadata, indent=2) + "\n"
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(text, encoding="utf-8")
