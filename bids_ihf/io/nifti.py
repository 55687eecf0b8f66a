"""NIfTI in and out: what comes back lies on the same grid, to the bit, in single precision."""

from __future__ import annotations

import logging
import math
import zlib
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from attrs import frozen
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError, HeaderTypeError

from bids_ihf.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

LOGGER = logging.getLogger(__name__)

VOXEL_SIZE_RANGE_MM = (0.01, 50.0)
"""Voxel sizes (mm) that a scan of a head may have; others come from wrong units."""

MAX_EXTENT_MM = 2000.0
"""Largest distance (mm) of a voxel from the origin, and from another voxel."""

MAX_FORM_DISTANCE_MM = 1.0
"""Distance (mm) between the places that qform and sform give a voxel, from which on it is told."""

MAX_GZIP_RATIO = 1032
"""How many times smaller than its content a gzip file can be."""

CHUNK_BYTES = 2**20
"""Bytes that are unpacked at once."""

GZIP_LEVEL = 1
"""Compression of what is written: isal's level 1 is the quickest and as small as gzip's."""


NIFTI_READ_ERRORS = (
    *(ImageFileError, HeaderDataError, HeaderTypeError),
    *(OSError, EOFError, ValueError, OverflowError, KeyError, MemoryError, zlib.error),
)
"""What nibabel raises where a file is not what it says."""


@frozen(eq=False)
class Volume:
    """A 3D image: data (X, Y, Z) with slope and intercept applied, and the header it came with."""

    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    header: Any
    path: Path


def read_volume(path: Path, *, allow_constant: bool = False) -> Volume:
    """Read a 3D NIfTI image; trailing axes of length 1 are dropped.

    Raises
    ------
    BadData
        The file is missing, not fetched, truncated or no NIfTI; has more than one volume, colours
        or complex numbers, NaN or infinite voxels or a singular affine; or is, unless allowed, of
        one value.
    """
    image = open_image(path)
    _check_header(image, path)
    check_compression(path)
    try:
        data = np.asarray(image.dataobj, dtype=np.float32)
    except NIFTI_READ_ERRORS as error:
        raise BadData(
            f"{path}: its voxels cannot be read ({error_text(error)}), so the file is damaged or "
            "truncated; copy it again."
        ) from error
    data = np.ascontiguousarray(data.reshape(image.shape[:3]))
    _check_voxels(data, path, allow_constant=allow_constant)
    return Volume(data, np.asarray(image.affine, dtype=np.float64), image.header.copy(), path)


def error_text(error: Exception) -> str:
    """What an error says, or else its kind, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def open_image(path: Path) -> nib.Nifti1Image:
    """Open a NIfTI file; its voxels stay on disk.

    Raises
    ------
    BadData
        The file is missing, not fetched, or no NIfTI image.
    """
    if path.is_symlink() and not path.exists():
        raise BadData(f"{path}: a link to a file that is not here (not fetched?); fetch it first.")
    if not path.is_file():
        raise BadData(f"{path}: no such file; check the name.")
    try:
        image = nib.load(path)
    except NIFTI_READ_ERRORS as error:
        raise BadData(
            f"{path}: cannot be read as NIfTI, so it is damaged, truncated or not NIfTI; "
            "copy or convert it again."
        ) from error
    if not isinstance(image, nib.Nifti1Image):
        raise BadData(f"{path}: not a NIfTI image; convert it to .nii.gz.")
    _check_claim(image, path)
    return image


def _check_claim(image: nib.Nifti1Image, path: Path) -> None:
    """Refuse a header that claims more voxels than its file can hold, before memory is taken.

    Where a file that is not compressed ends, is seen by reading it.
    """
    claimed = math.prod(image.shape) * image.get_data_dtype().itemsize
    if path.name.endswith(".gz") and claimed > path.stat().st_size * MAX_GZIP_RATIO:
        raise BadData(
            f"{path}: its header claims {claimed} bytes of voxels, more than the file can hold, "
            "so it is damaged or truncated; copy it again."
        )


def check_compression(path: Path) -> None:
    """Unpack a .gz file to its end, where its checksum stands: nibabel does not read that far.

    Raises
    ------
    BadData
        The content is not what was compressed.
    """
    if not path.name.endswith(".gz"):
        return
    from isal import igzip

    unzip: Any = igzip.open
    try:
        with unzip(path, "rb") as stream:
            while stream.read(CHUNK_BYTES):
                pass
    except NIFTI_READ_ERRORS as error:
        raise BadData(
            f"{path}: cannot be unpacked to its end ({error_text(error)}), so the file is damaged "
            "or truncated; copy it again."
        ) from error


def _check_header(image: nib.Nifti1Image, path: Path) -> None:
    shape = image.shape
    if len(shape) < 3 or min(shape) < 1:
        raise BadData(f"{path}: has no three dimensions (its shape is {shape}); give a 3D image.")
    if any(size > 1 for size in shape[3:]):
        raise BadData(
            f"{path}: has {int(np.prod(shape[3:]))} volumes where one is expected; split or "
            "average them first."
        )
    check_affine(image, path)


def check_affine(image: nib.Nifti1Image, path: Path) -> None:
    """Raise BadData where voxels are no plain numbers or have no place; warn without codes."""
    kind = image.get_data_dtype()
    if kind.names is not None or kind.kind not in "iuf":
        raise BadData(
            f"{path}: holds {kind} voxels and no plain numbers; give the magnitude image."
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BadData(f"{path}: its affine is singular, so no place is known; mend its header.")
    _check_sizes(affine, image.shape, path)
    _check_stored(image, path)
    _warn_of_orientation(image, affine, path)


def _check_sizes(affine: NDArray[np.float64], shape: tuple[int, ...], path: Path) -> None:
    """Refuse voxels and places that no scan of a head can have."""
    zooms = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    named = " x ".join(f"{zoom:.3g}" for zoom in zooms)
    if not ((zooms >= VOXEL_SIZE_RANGE_MM[0]) & (zooms <= VOXEL_SIZE_RANGE_MM[1])).all():
        raise BadData(
            f"{path}: its affine makes voxels of {named} mm, which cannot be; mend its header, or "
            "its units."
        )
    corners = corners_of(shape, affine)
    if max(np.abs(corners).max(), np.ptp(corners, axis=1).max()) > MAX_EXTENT_MM:
        raise BadData(
            f"{path}: implausible affine, voxels lie more than {MAX_EXTENT_MM:g} mm from the "
            "origin or from each other; correct the header."
        )


def _check_stored(image: nib.Nifti1Image, path: Path) -> None:
    """Look at the header as it stands in the file: nibabel mends some fields without a word."""
    with ImageOpener(str(path)) as stream:
        stored = type(image.header).from_fileobj(stream, check=False)
    zooms = stored["pixdim"][1:4]
    if stored["sform_code"] == 0 and not (np.isfinite(zooms) & (zooms != 0)).all():
        raise BadData(
            f"{path}: its header has voxels of no size and no affine beside; mend its header."
        )
    odd = []
    if (zooms < 0).any():
        odd.append("negative voxel sizes, taken as positive")
    if np.isinf(stored["scl_slope"]):
        odd.append("an infinite slope, taken as 1")
    if odd:
        LOGGER.warning("%s: its header has %s; look at it.", path, " and ".join(odd))


def corners_of(shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places (3, 8), RAS mm, of the eight outermost voxels of a grid."""
    ends = np.array(np.meshgrid(*[(0, size - 1) for size in shape[:3]])).reshape(3, -1)
    return np.asarray(affine[:3, :3] @ ends + affine[:3, 3:], dtype=np.float64)


def _warn_of_orientation(image: nib.Nifti1Image, affine: NDArray[np.float64], path: Path) -> None:
    """Say where the header is unclear about orientation, and what is taken."""
    codes = int(image.header["qform_code"]), int(image.header["sform_code"])
    if codes == (0, 0):
        LOGGER.warning(
            "%s: its header states no orientation (both codes are 0); taken as is.", path
        )
    axes = affine[:3, :3] / np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if np.abs(axes.T @ axes - np.eye(3)).max() > 0.01:
        LOGGER.warning("%s: its affine is sheared; taken as is, look at it.", path)
    if min(codes) > 0:
        other = corners_of(image.shape, image.get_qform())
        apart = float(np.abs(corners_of(image.shape, affine) - other).max())
        if not apart <= MAX_FORM_DISTANCE_MM:
            LOGGER.warning(
                "%s: its qform and sform disagree by up to %.0f mm; the sform is used.",
                path, apart,
            )  # fmt: skip


def _check_voxels(data: NDArray[np.float32], path: Path, *, allow_constant: bool) -> None:
    if not np.isfinite(data).all():
        count = int(np.count_nonzero(~np.isfinite(data)))
        raise BadData(f"{path}: {count} voxels are NaN or infinite; repair or exclude it.")
    if allow_constant:
        return
    if data.min() == data.max():
        raise BadData(f"{path}: all voxels are {data.flat[0]:g}, so it is empty; exclude it.")
    if data.max() <= 0:
        raise BadData(f"{path}: no voxel is positive; give the magnitude image.")


def encode_nifti(data: NDArray[Any], like: Volume, *, dtype: DTypeLike = np.float32) -> bytes:
    """``data`` (X, Y, Z) as the bytes of a .nii.gz file on the grid of ``like``.

    Orientation fields, their codes, voxel sizes, units and description are copied from the header
    and not computed anew, so that they survive to the bit.  Slope is 1 and intercept 0; header
    extensions speak of the source and are left out.  Equal input gives equal bytes: the gzip
    header carries no time.
    """
    from isal import igzip

    header = like.header.copy()
    out = np.asarray(data, dtype=dtype)
    block = header_block(header, out.shape, out.dtype)
    voxels = out.astype(out.dtype.newbyteorder(header.endianness), copy=False)
    return igzip.compress(block + voxels.tobytes(order="F"), compresslevel=GZIP_LEVEL, mtime=0)


def header_block(header: Any, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> bytes:
    """The bytes before the voxels of a single-file image of a shape; ``header`` is changed."""
    zooms = header["pixdim"].copy()
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape(shape)
    header["pixdim"] = zooms  # set_data_shape resets those of axes that were dropped
    header["cal_min"] = header["cal_max"] = 0  # display range of the source's intensities
    header["magic"] = b"n+2" if header["sizeof_hdr"] == 540 else b"n+1"
    start = int(np.ceil((header.template_dtype.itemsize + 4) / 16) * 16)
    header["vox_offset"] = start
    header.set_slope_inter(1, 0)
    block: bytes = header.binaryblock
    return block + b"\0" * (start - len(block))
