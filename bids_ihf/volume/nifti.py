"""NIfTI in and out: what comes back lies on the same grid, to the bit, in single precision."""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from attrs import frozen
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from bids_ihf.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

LOGGER = logging.getLogger(__name__)

LEVEL = 1
"""Compression of what is written: isal's level 1 is the quickest and as small as gzip's."""


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
    try:
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, zlib.error, MemoryError) as error:
        raise BadData(
            f"{path}: its voxels cannot be read ({error or type(error).__name__}), so the file is "
            "damaged or cut short; copy it again."
        ) from error
    data = np.ascontiguousarray(data.reshape(image.shape[:3]))
    _check_voxels(data, path, allow_constant=allow_constant)
    return Volume(data, np.asarray(image.affine, dtype=np.float64), image.header.copy(), path)


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
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
        raise BadData(
            f"{path}: cannot be read as NIfTI, so it is damaged, cut short or something else; "
            "copy or convert it again."
        ) from error
    if not isinstance(image, nib.Nifti1Image):
        raise BadData(f"{path}: not a NIfTI image; convert it to .nii.gz.")
    return image


def _check_header(image: nib.Nifti1Image, path: Path) -> None:
    shape = image.shape
    if len(shape) < 3 or 0 in shape:
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
    affine = image.affine
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BadData(f"{path}: its affine is singular, so no place is known; mend its header.")
    if image.header["qform_code"] == 0 and image.header["sform_code"] == 0:
        LOGGER.warning(
            "%s: its header states no orientation (both codes are 0); taken as is.", path
        )


def _check_voxels(data: NDArray[np.float32], path: Path, *, allow_constant: bool) -> None:
    if not np.isfinite(data).all():
        count = int(np.count_nonzero(~np.isfinite(data)))
        raise BadData(f"{path}: {count} voxels are NaN or infinite; repair or exclude it.")
    if not allow_constant and data.min() == data.max():
        raise BadData(f"{path}: all voxels are {data.flat[0]:g}, so it is empty; exclude it.")


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
    return igzip.compress(block + voxels.tobytes(order="F"), compresslevel=LEVEL, mtime=0)


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
