"""Hashes of image files that follow their content, without reading large files whole."""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from pathlib import Path

import nibabel as nib
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

HEAD_BYTES = 4096
"""Bytes at the beginning of a file that are hashed; they hold the header of a NIfTI image."""
GZIP_TRAILER_BYTES = 8
"""CRC-32 and size, modulo 2^32, of the uncompressed content: RFC 1952, section 2.3.1."""
NIFTI1_HEADER_BYTES = 348


def file_hash(path: Path | None) -> str | None:
    """SHA-256 of a regular file; None if it cannot be read or there is no path.

    A pipe or a device is never opened: it might deliver nothing, or no end.
    """
    try:
        if path is None or not path.is_file():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def content_hash(path: Path) -> str | None:
    """SHA-256 that changes with the content of an image file; None if it cannot be read.

    Of a compressed NIfTI-1 image the size, the beginning and the trailer are hashed: the trailer
    holds the checksum of all uncompressed bytes if the size in it is the one that the header
    tells.  Any other file (of several members, padded, uncompressed) is hashed whole.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
            file.seek(max(size - GZIP_TRAILER_BYTES, 0))
            trailer = file.read()
            if _uncompressed_bytes(head) % 2**32 == int.from_bytes(trailer[4:], "little"):
                return hashlib.sha256(b"%d" % size + head + trailer).hexdigest()
    except OSError:
        return None
    return file_hash(path)


def _uncompressed_bytes(head: bytes) -> int:
    """Size of a compressed NIfTI-1 file as its header tells it; -1 if it is none."""
    try:
        block = zlib.decompressobj(wbits=31).decompress(head)[:NIFTI1_HEADER_BYTES]
        header = nib.Nifti1Header(block, check=False)
        voxels = math.prod(header.get_data_shape())
        return int(header["vox_offset"]) + voxels * header.get_data_dtype().itemsize
    except (zlib.error, WrapStructError, HeaderDataError, KeyError, ValueError, OverflowError):
        return -1
