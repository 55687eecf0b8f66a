"""4D series read and written volume by volume, so that memory does not grow with their length."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from attrs import frozen
from numpy.typing import DTypeLike, NDArray

from bids_ihf.errors import BadData
from bids_ihf.io.compact import Encoding, Steps
from bids_ihf.io.grid_checks import check_grid
from bids_ihf.io.nifti import (
    CHUNK_BYTES,
    GZIP_LEVEL,
    damaged,
    header_block,
    open_image,
    open_uncompressed,
)

STREAM_READ_ERRORS = (OSError, EOFError, ValueError, zlib.error)
"""What reading raises for a damaged or truncated file."""


@frozen(eq=False)
class Series:
    """A 4D image on disk: volumes of `shape` (X, Y, Z) with their affine and NIfTI header.

    The voxels begin at byte `offset` of the uncompressed file; `slope` and `intercept` scale them
    to intensities.
    """

    path: Path
    shape: tuple[int, int, int]
    volume_count: int
    affine: NDArray[np.float64]
    header: Any
    offset: int
    slope: float
    intercept: float

    def volumes(self, dtype: DTypeLike = np.float32) -> Iterator[NDArray[Any]]:
        """Yield each volume (X, Y, Z), slope and intercept applied, in one pass over the file.

        Raises
        ------
        BadData
            The file is truncated or damaged.
        """
        stored = self.header.get_data_dtype().newbyteorder(self.header.endianness)
        scaled = (self.slope, self.intercept) != (1, 0)
        size = math.prod(self.shape) * stored.itemsize
        with open_uncompressed(self.path) as stream:
            try:
                stream.seek(self.offset)
                for number in range(1, self.volume_count + 1):
                    block = stream.read(size)
                    if len(block) < size:
                        raise EOFError(f"ends in volume {number} of {self.volume_count}")
                    data = np.frombuffer(block, stored).reshape(self.shape, order="F")
                    if scaled:
                        data = data * np.float64(self.slope) + np.float64(self.intercept)
                    yield np.ascontiguousarray(data, dtype=dtype)
                while stream.read(CHUNK_BYTES):  # the checksum is at the end
                    pass
            except STREAM_READ_ERRORS as error:
                raise damaged(self.path, "its voxels cannot be read", error) from error


def open_series(path: Path) -> Series:
    """Open a 4D NIfTI image of at least two volumes; its voxels stay on disk.

    Raises
    ------
    BadData
        The file is missing, not fetched, not NIfTI or not a series; its voxels are RGB or complex
        numbers, or its affine is implausible.
    """
    image = open_image(path)
    shape = image.shape
    if len(shape) < 3 or min(shape) < 1:
        raise BadData(f"{path}: is not an image series (shape {shape}); convert it again.")
    if math.prod(shape[3:]) < 2:
        raise BadData(
            f"{path}: has a single volume where a diffusion series has several; merge the series "
            "(4D) or exclude the file."
        )
    if math.prod(shape[4:]) > 1:
        raise BadData(f"{path}: has {len(shape)} dimensions instead of four; split it.")
    check_grid(image, path)
    x, y, z, volume_count = shape[:4]
    # nibabel takes these out of the header when it loads it.
    proxy: Any = image.dataobj
    return Series(
        path,
        (x, y, z),
        volume_count,
        np.asarray(image.affine, dtype=np.float64),
        image.header.copy(),
        offset=int(proxy.offset),
        slope=float(proxy.slope),
        intercept=float(proxy.inter),
    )


def is_series(path: Path) -> bool:
    """Whether a NIfTI image has more than one volume.

    Raises
    ------
    BadData
        The file is missing or not NIfTI.
    """
    return math.prod(open_image(path).shape[3:]) > 1


class SeriesWriter:
    """Compress a series on the grid of `like` into a stream, one volume at a time.

    Orientation, voxel sizes and time step are those of `like`, to the bit; the data type is that
    of the first volume, slope is 1 and intercept 0.  Equal input gives equal bytes.
    """

    def __init__(self, stream: IO[bytes], like: Series, compressor: Any = None) -> None:
        from isal import isal_zlib

        self._stream = stream
        # Window bits above 16 ask for a gzip header, into which isal writes no time stamp.
        self._gzip = compressor or isal_zlib.compressobj(
            level=GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS
        )
        self._like = like
        self._dtype: np.dtype[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self.close()

    def add(self, volume: NDArray[Any]) -> None:
        """Append a volume (X, Y, Z)."""
        if self._dtype is None:
            header = self._like.header.copy()
            shape = (*self._like.shape, self._like.volume_count)
            self._put(header_block(header, shape, volume.dtype))
            self._dtype = volume.dtype.newbyteorder(header.endianness)
        self._put(volume.astype(self._dtype, copy=False).tobytes(order="F"))

    def add_encoded(
        self, encoding: Encoding, steps: NDArray[Any], marked: Steps | None = None
    ) -> None:
        """Append a volume (X, Y, Z) of whole steps; ``marked`` steps make it a change map."""
        if self._dtype is None:
            shape = (*self._like.shape, self._like.volume_count)
            self._put(encoding.header(self._like.header, shape, marked))
            self._dtype = encoding.dtype
        self._put(encoding.voxels(steps, self._like.header.endianness))

    def close(self) -> None:
        """Finish the file."""
        self._stream.write(self._gzip.flush())

    def _put(self, block: bytes) -> None:
        self._stream.write(self._gzip.compress(block))
