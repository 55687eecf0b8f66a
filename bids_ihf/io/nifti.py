"""NIfTI files: every header is checked on reading, and written on the same grid to the bit."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from attrs import frozen
from nibabel.filebasedimages import ImageFileError
from nibabel.freesurfer.mghformat import MGHError, MGHImage
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from numpy.typing import DTypeLike, NDArray

from bids_ihf.errors import BadData
from bids_ihf.io.grid_checks import check_grid

MAX_GZIP_RATIO = 1032
"""Largest ratio of content to file size that deflate can reach (zlib.net/zlib_tech.html)."""

CHUNK_BYTES = 2**20
"""Number of bytes that are decompressed at a time."""

GZIP_LEVEL = 1
"""Compression level of written files: the fastest of isal, whose files are as small as gzip's."""

NIFTI_READ_ERRORS = (
    *(ImageFileError, HeaderDataError, HeaderTypeError),
    *(OSError, EOFError, ValueError, OverflowError, KeyError, MemoryError, zlib.error),
)
"""What nibabel raises for corrupt files."""


@frozen(eq=False)
class Volume:
    """A 3D image: data (X, Y, Z) with slope and intercept applied, and its original header."""

    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    header: Any
    path: Path


def read_volume(
    path: Path, *, allow_constant: bool = False, dtype: DTypeLike = np.float32
) -> Volume:
    """Read a 3D NIfTI image as `dtype`; trailing axes of length 1 are dropped.

    Raises
    ------
    BadData
        The file is missing, not fetched, truncated or not NIfTI; it has more than one volume, RGB
        or complex voxels, NaN or infinite voxels or an implausible affine; or all its voxels are
        equal, unless that is allowed.
    """
    image = open_image(path)
    shape = image.shape
    if len(shape) < 3 or min(shape) < 1:
        raise BadData(f"{path}: does not have three dimensions (shape {shape}); give a 3D image.")
    if math.prod(shape[3:]) > 1:
        raise BadData(
            f"{path}: has {math.prod(shape[3:])} volumes where one is expected; split or average "
            "them first."
        )
    check_grid(image, path)
    _check_gzip(path)
    try:
        data = np.asarray(image.dataobj, dtype=dtype)
    except NIFTI_READ_ERRORS as error:
        raise damaged(path, "its voxels cannot be read", error) from error
    data = np.ascontiguousarray(data.reshape(shape[:3]))
    _check_voxels(data, path, allow_constant=allow_constant)
    return Volume(data, np.asarray(image.affine, dtype=np.float64), image.header.copy(), path)


def read_freesurfer(path: Path) -> Volume:
    """Read a 3D image in FreeSurfer's format (.mgz), such as ``mri/brainmask.mgz``.

    Raises
    ------
    BadData
        The file is missing, damaged or of another format.
    """
    try:
        image = MGHImage.from_filename(path)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (*NIFTI_READ_ERRORS, MGHError) as error:
        raise damaged(path, "cannot be read as a FreeSurfer image", error) from error
    if data.ndim != 3:
        raise BadData(f"{path}: does not have three dimensions (shape {data.shape}).")
    return Volume(data, np.asarray(image.affine, dtype=np.float64), image.header.copy(), path)


def damaged(path: Path, problem: str, cause: Exception | str) -> BadData:
    """Return the error for a file that is damaged or truncated."""
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return BadData(
        f"{path}: {problem} ({reason}), so the file is damaged or truncated; copy it again."
    )


def open_image(path: Path) -> nib.Nifti1Image:
    """Open a NIfTI file; its voxels stay on disk.

    Raises
    ------
    BadData
        The file is missing, not fetched, not readable, or not a NIfTI image.
    """
    if path.is_symlink() and not path.exists():
        raise BadData(f"{path}: a link without content (not fetched); fetch it first.")
    if not path.is_file():
        raise BadData(f"{path}: no such file; check the name.")
    try:
        image = nib.load(path)
    except NIFTI_READ_ERRORS as error:
        raise _not_nifti(path) from error
    if not isinstance(image, nib.Nifti1Image):
        raise BadData(f"{path}: not a NIfTI image; convert it to .nii.gz.")
    # Before memory is allocated; that an uncompressed file is too short shows on reading.
    voxel_bytes = math.prod(image.shape) * image.get_data_dtype().itemsize
    if path.name.endswith(".gz") and voxel_bytes > path.stat().st_size * MAX_GZIP_RATIO:
        raise damaged(
            path, "its header is wrong", f"{voxel_bytes} bytes of voxels, more than the file holds"
        )
    return image


def _not_nifti(path: Path) -> BadData:
    """Return the error for a file that nibabel does not read."""
    try:
        with path.open("rb") as stream:
            beginning = stream.read(64)
    except OSError as error:
        return BadData(f"{path}: cannot be read ({error.strerror}); check its permissions.")
    pointers = {
        "git-annex": (b"/annex/objects/", b"../.git/annex/"),
        "Git LFS": (b"version https://git-lfs",),
    }
    for kind, signatures in pointers.items():
        if beginning.startswith(signatures):
            return BadData(
                f"{path}: a {kind} pointer, not the image itself; fetch its content first, for "
                "instance with 'datalad get' or 'git lfs pull'."
            )
    return BadData(
        f"{path}: cannot be read as NIfTI, so it is damaged, truncated or of another format; "
        "copy or convert it again."
    )


def open_uncompressed(path: Path) -> IO[bytes]:
    """Open the uncompressed content of a file."""
    from isal import igzip

    gzip_open: Any = igzip.open if path.name.endswith(".gz") else open
    return gzip_open(path, "rb")


def _check_gzip(path: Path) -> None:
    """Decompress a .gz file to its end, where its checksum is: nibabel does not read that far."""
    if not path.name.endswith(".gz"):
        return
    try:
        with open_uncompressed(path) as stream:
            while stream.read(CHUNK_BYTES):
                pass
    except NIFTI_READ_ERRORS as error:
        raise damaged(path, "cannot be decompressed to its end", error) from error


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
    """Encode `data` (X, Y, Z) as a .nii.gz file on the grid of `like`.

    Orientation, its codes, voxel sizes, units and description are copied from the header rather
    than recomputed, so they are preserved to the bit.  Slope is 1 and intercept 0; header
    extensions, which describe the source, are dropped.  Equal input gives equal bytes: the gzip
    header has no time stamp.
    """
    from isal import igzip

    header = like.header.copy()
    out = np.asarray(data, dtype=dtype)
    block = header_block(header, out.shape, out.dtype)
    voxels = out.astype(out.dtype.newbyteorder(header.endianness), copy=False)
    return igzip.compress(block + voxels.tobytes(order="F"), compresslevel=GZIP_LEVEL, mtime=0)


def header_block(
    header: Any,
    shape: tuple[int, ...],
    dtype: DTypeLike = np.float32,
    *,
    slope_intercept: tuple[float, float] = (1, 0),
) -> bytes:
    """Return the bytes before the voxels of a single-file image; `header` is changed."""
    zooms = header["pixdim"].copy()
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape(shape)
    header["pixdim"] = zooms  # set_data_shape resets those of dropped axes
    header["cal_min"] = header["cal_max"] = 0  # display range of the source's intensities
    header["magic"] = b"n+2" if header["sizeof_hdr"] == 540 else b"n+1"
    voxel_offset = int(np.ceil((header.template_dtype.itemsize + 4) / 16) * 16)
    header["vox_offset"] = voxel_offset
    header.set_slope_inter(*slope_intercept)
    block: bytes = header.binaryblock
    return block + b"\0" * (voxel_offset - len(block))
