"""A simulated traveling-subject study: the same people on three vendors' scanners, as raw BIDS."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, TypeVar, get_args

import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.simulation import template_head
from bids_ihf.lab.simulation.anatomy import Anatomy, demo_anatomy
from bids_ihf.lab.simulation.demo_files import dataset_files
from bids_ihf.lab.simulation.metadata import Sidecar, anatomical_sidecar
from bids_ihf.lab.simulation.protocol import VENDOR_PROTOCOLS, VENDORS, Modality
from bids_ihf.lab.simulation.scanner import scan, vendor_scanner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.demo_series import DemoSeries, DiffusionScheme

logger = logging.getLogger(__name__)

_Voxel = TypeVar("_Voxel", bound=np.generic)

MODALITIES: tuple[Modality, ...] = get_args(Modality)


@frozen
class VolumeGeometry:
    """How a vendor's console lays out a volume.

    field_of_view: mm along right, anterior, superior.
    storage: where the first, second and third axis of the stored array point to.
    thick: in T2w images, how many voxels from right to left make one slice.
    """

    field_of_view: tuple[int, int, int]
    storage: str
    thick: int = 1


VENDOR_GEOMETRIES: dict[str, VolumeGeometry] = {
    "Siemens": VolumeGeometry((192, 240, 224), "PSR"),
    "GE": VolumeGeometry((192, 240, 216), "LPS"),
    "Philips": VolumeGeometry((184, 240, 224), "AIR", thick=2),
}


@frozen(eq=False)
class DemoImage:
    """One simulated scan as it is stored: int16 voxels, voxel-to-world affine, BIDS metadata."""

    data: NDArray[np.int16]
    affine: NDArray[np.float64]
    metadata: Sidecar


@frozen(eq=False)
class ScanTruth:
    """What is known of one simulated scan.

    anatomy: on the grid of the scan, axes in RAS order, before they are stored in the vendor's.
    brain: (X, Y, Z) bool on the stored array.
    pose: (4, 4) the person's world to the scan's, RAS mm; the same person has one world, so
        `pose_b @ inv(pose_a)` brings scan a onto scan b.
    """

    anatomy: Anatomy
    brain: NDArray[np.bool_]
    pose: NDArray[np.float64]


def demo_session(
    subject: int,
    vendor: str,
    modality: Modality,
    *,
    seed: int = 0,
    zoom: float = 1.0,
    anatomy: Anatomy | None = None,
) -> tuple[DemoImage, ScanTruth]:
    """Simulate one scan of one person; the image and the truth about it.

    subject: 1, 2, ...; zoom: voxel size in mm.  `anatomy` is the session's (see
    `session_anatomy`), passed to save time when more than one scan is made of it.
    """
    geometry = VENDOR_GEOMETRIES[vendor]
    person = anatomy or session_anatomy(subject, vendor, seed=seed, zoom=zoom)
    moved = np.eye(4)
    if modality == "T2w":
        # Between two scans of a session a head moves by less than a millimetre or so; the shift
        # of the whole grid says the same, and needs no second interpolation.
        moved = _rigid(np.random.default_rng([seed, subject, *vendor.encode()]), 0.8, 0.6)
        person = thicken(person, geometry.thick)
    person = evolve(person, affine=moved @ person.affine)
    key = int(np.random.default_rng([seed, subject]).integers(2**31))
    data = scan(person, vendor_scanner(vendor, modality, key), key)
    stored, affine = _store(data, person.affine, geometry.storage)
    brain, _ = _store(person.brain.numpy(), person.affine, geometry.storage)
    fields = anatomical_sidecar(
        VENDOR_PROTOCOLS[vendor, modality],
        slice_thickness=zoom * (geometry.thick if modality == "T2w" else 1),
    )
    voxels = np.clip(stored, 0, np.iinfo(np.int16).max).astype(np.int16)
    pose = moved @ _pose(subject, vendor, seed)
    return DemoImage(voxels, affine, fields), ScanTruth(person, brain, pose)


def session_anatomy(subject: int, vendor: str, *, seed: int = 0, zoom: float = 1.0) -> Anatomy:
    """Return the person as positioned in the vendor's scanner, on its grid, axes in RAS order."""
    geometry = VENDOR_GEOMETRIES[vendor]
    x, y, z = (round(length / zoom / 8) * 8 for length in geometry.field_of_view)
    template = template_head.head_affine()
    middle = template[:3, 3] + (np.asarray(template_head.HEAD_SHAPE) - 1) / 2
    affine = np.diag([zoom, zoom, zoom, 1.0])
    affine[:3, 3] = middle - zoom * (np.asarray((x, y, z)) - 1) / 2
    pose = _pose(subject, vendor, seed)
    return demo_anatomy(_person(subject, seed), pose=pose, shape=(x, y, z), affine=affine)


def thicken(anatomy: Anatomy, factor: int) -> Anatomy:
    """Average `factor` neighbours from right to left, as a thicker slice does."""
    if factor == 1:
        return anatomy
    affine = anatomy.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (factor - 1) / 2
    affine[:3, 0] *= factor

    def pooled(volume: torch.Tensor) -> torch.Tensor:
        return volume.unflatten(-3, (-1, factor)).mean(dim=-3)

    return Anatomy(
        fractions=pooled(anatomy.fractions),
        texture=pooled(anatomy.texture),
        affine=affine,
        brain=pooled(anatomy.brain.float()) >= 0.5,
    )


def write_demo_dataset(
    out_dir: Path,
    *,
    subjects: int = 2,
    seed: int = 0,
    zoom: float = 1.0,
    vendors: Sequence[str] = VENDORS,
    scheme: DiffusionScheme | None = None,
) -> list[Path]:
    """Write a raw BIDS dataset: each person once on each vendor's scanner, T1w, T2w and DWI.

    ``scheme`` is that of the diffusion series, each vendor's own unless given.
    Returns the images' paths.  Existing files of the same names are replaced; the same arguments
    give the same files.
    """
    written: list[Path] = []
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, text in dataset_files(subjects, zoom).items():
        (out_dir / name).write_text(text, encoding="utf-8")
    for subject in range(1, subjects + 1):
        for vendor in vendors:
            written += _write_session(
                out_dir, subject, vendor, seed=seed, zoom=zoom, scheme=scheme
            )
    template_head.template_head.cache_clear()  # half a gigabyte that nothing needs any more
    return written


def _write_session(
    out_dir: Path,
    subject: int,
    vendor: str,
    *,
    seed: int,
    zoom: float,
    scheme: DiffusionScheme | None,
) -> list[Path]:
    """All images of a session, of one anatomy that is freed on return."""
    anatomy = session_anatomy(subject, vendor, seed=seed, zoom=zoom)
    written = []
    for modality in MODALITIES:
        image, _ = demo_session(subject, vendor, modality, seed=seed, zoom=zoom, anatomy=anatomy)
        written.append(_write(out_dir, subject, vendor, modality, image))
        logger.info("simulated %s", written[-1].name)
    written.append(_write_series(out_dir, subject, vendor, anatomy, seed, scheme))
    logger.info("simulated %s", written[-1].name)
    return written


def session_series(
    subject: int, vendor: str, anatomy: Anatomy, seed: int, scheme: DiffusionScheme | None = None
) -> DemoSeries:
    """Simulate the diffusion series of a session, whose anatomy is given."""
    from bids_ihf.lab.simulation.demo_series import demo_series

    moved = _rigid(np.random.default_rng([seed, subject, 3, *vendor.encode()]), 0.8, 0.6)
    return demo_series(
        vendor,
        anatomy,
        _person(subject, seed),
        pose=_pose(subject, vendor, seed),
        key=int(np.random.default_rng([seed, subject]).integers(2**31)),
        moved=moved,
        scheme=scheme,
    )


def _write_series(
    out_dir: Path,
    subject: int,
    vendor: str,
    anatomy: Anatomy,
    seed: int,
    scheme: DiffusionScheme | None,
) -> Path:
    from bids_ihf.lab.simulation.gradient_scheme import fsl_text

    series = session_series(subject, vendor, anatomy, seed, scheme)
    path = _path(out_dir, subject, vendor, "dwi", "dwi")
    _write_image(path, series.data, series.affine, series.metadata)
    stem = path.name.removesuffix(".nii.gz")
    for extension, content in zip((".bval", ".bvec"), fsl_text(series.gradients), strict=True):
        path.with_name(stem + extension).write_bytes(content)
    return path


def _write(out_dir: Path, subject: int, vendor: str, modality: Modality, image: DemoImage) -> Path:
    path = _path(out_dir, subject, vendor, "anat", modality)
    _write_image(path, image.data, image.affine, image.metadata)
    return path


def _path(out_dir: Path, subject: int, vendor: str, datatype: str, suffix: str) -> Path:
    session = f"ses-{vendor.lower()}"
    folder = out_dir / f"sub-{subject:02d}" / session / datatype
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"sub-{subject:02d}_{session}_{suffix}.nii.gz"


def _write_image(
    path: Path, data: NDArray[np.int16], affine: NDArray[np.float64], metadata: Sidecar
) -> None:
    """Write an image or series and its JSON file; without a time stamp the same seed gives the
    same file."""
    import nibabel as nib
    from isal import igzip

    nifti = nib.Nifti1Image(data, affine)
    nifti.header.set_xyzt_units("mm", "sec")
    nifti.set_sform(affine, code="scanner")
    nifti.set_qform(affine, code="scanner")
    if data.ndim == 4:
        nifti.header["pixdim"][4] = metadata["RepetitionTime"]
    path.write_bytes(igzip.compress(nifti.to_bytes(), 1, mtime=0))
    text = json.dumps(metadata, indent=2) + "\n"
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(text, encoding="utf-8")


def _store(
    data: NDArray[_Voxel], affine: NDArray[np.float64], storage: str
) -> tuple[NDArray[_Voxel], NDArray[np.float64]]:
    """Flip and permute a RAS-ordered array into the storage order; nothing is interpolated."""
    from nibabel import orientations

    change = orientations.ornt_transform(
        orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(storage)
    )
    stored = np.ascontiguousarray(orientations.apply_orientation(data, change))
    return stored, affine @ orientations.inv_ornt_aff(change, data.shape)


def _person(subject: int, seed: int) -> int:
    return int(np.random.default_rng([seed, subject, 1]).integers(2**31))


def _pose(subject: int, vendor: str, seed: int) -> NDArray[np.float64]:
    """How the person lies in that scanner: some mm and degrees from straight."""
    return _rigid(np.random.default_rng([seed, subject, 2, *vendor.encode()]), 3.0, 3.0)


def _rigid(rng: np.random.Generator, millimetres: float, degrees: float) -> NDArray[np.float64]:
    """Draw a rigid (4, 4) transform; the sizes are standard deviations for each axis."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    angles = np.clip(rng.normal(0, degrees, 3), -2 * degrees, 2 * degrees)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = np.clip(rng.normal(0, millimetres, 3), -2 * millimetres, 2 * millimetres)
    return matrix
