"""A 4D series read and written volume by volume, so that memory does not grow with its length."""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from bids_ihf.errors import BadData
from bids_ihf.io.nifti import (
    CHUNK_BYTES,
    GZIP_LEVEL,
    check_affine,
    error_text,
    header_block,
    open_image,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

STREAM_READ_ERRORS = (OSError, EOFError, ValueError, zlib.error)


@frozen(eq=False)
class Series:
    """A 4D image on disk: (X, Y, Z) of each of ``count`` volumes, its affine and header; where
    the voxels begin in the uncompressed file, and what makes intensities of them."""

    path: Path
    shape: tuple[int, int, int]
    volume_count: int
    affine: NDArray[np.float64]
    header: Any
    offset: int
    slope: float
    intercept: float

    def volumes(self) -> Iterator[NDArray[np.float32]]:
        """Each volume in turn, float32, slope and intercept applied; one pass over the file.

        Raises
        ------
        BadData
            The file ends early or is damaged.
        """
        kind = self.header.get_data_dtype().newbyteorder(self.header.endianness)
        scaled = (self.slope, self.intercept) != (1, 0)
        size = int(np.prod(self.shape)) * kind.itemsize
        with _opened(self.path) as stream:
            try:
                stream.seek(self.offset)
                for number in range(self.volume_count):
                    block = _read_all(stream, size)
                    if len(block) < size:
                        raise EOFError(f"ends in volume {number + 1} of {self.volume_count}")
                    data = np.frombuffer(block, kind).reshape(self.shape, order="F")
                    if scaled:
                        data = data * np.float64(self.slope) + np.float64(self.intercept)
                    yield np.ascontiguousarray(data, dtype=np.float32)
                while stream.read(CHUNK_BYTES):  # the checksum stands at the end
                    pass
            except STREAM_READ_ERRORS as error:
                raise BadData(
                    f"{self.path}: its voxels cannot be read ({error_text(error)}), so the file "
                    "is damaged or truncated; copy it again."
                ) from error


def open_series(path: Path) -> Series:
    """A 4D NIfTI image of two volumes or more, its voxels not read yet.

    Raises
    ------
    BadData
        The file is missing, not fetched or no NIfTI, is no series, holds colours or complex
        numbers, or has a singular affine.
    """
    image = open_image(path)
    shape = image.shape
    if len(shape) < 3 or min(shape) < 1:
        raise BadData(f"{path}: has the shape {shape} and is no image series; convert it again.")
    count = int(np.prod(shape[3:]))
    if count < 2:
        raise BadData(
            f"{path}: has a single volume where a diffusion series has several; join the series "
            "(4D) or exclude the file."
        )
    if len(shape) > 4 and any(size > 1 for size in shape[4:]):
        raise BadData(f"{path}: has {len(shape)} dimensions and not four; split it by the fifth.")
    check_affine(image, path)
    affine = np.asarray(image.affine, dtype=np.float64)
    # nibabel takes these out of the header when it loads it.
    stored: Any = image.dataobj
    return Series(
        path, (shape[0], shape[1], shape[2]), count, affine, image.header.copy(),
        int(stored.offset), float(stored.slope), float(stored.inter),
    )  # fmt: skip


def is_series(path: Path) -> bool:
    """Whether a NIfTI image has more than one volume.

    Raises
    ------
    BadData
        The file is missing or no NIfTI.
    """
    return int(np.prod(open_image(path).shape[3:])) > 1


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The uncompressed bytes of a file."""
    from isal import igzip

    with open(path, "rb") as raw:
        if raw.read(2) != b"\x1f\x8b":
            raw.seek(0)
            yield raw
            return
        raw.seek(0)
        unzip: Any = igzip.open
        with unzip(raw, "rb") as stream:
            yield stream


def _read_all(stream: IO[bytes], size: int) -> bytes:
    """``size`` bytes, or fewer where the stream ends."""
    parts, missing = [], size
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class SeriesWriter:
    """Compresses a float32 series on the grid of ``like`` into a stream, one volume at a time.

    Orientation, voxel sizes and time step are those of ``like``, to the bit; slope 1, intercept
    0.  Equal input gives equal bytes.
    """

    def __init__(self, stream: IO[bytes], like: Series) -> None:
        from isal import isal_zlib

        self._stream = stream
        # Window bits above 16 ask for a gzip header; isal writes no time into it.
        self._gzip = isal_zlib.compressobj(level=GZIP_LEVEL, wbits=16 + zlib.MAX_WBITS)
        header = like.header.copy()
        self._put(header_block(header, (*like.shape, like.volume_count)))
        self._kind = np.dtype(np.float32).newbyteorder(header.endianness)

    def add(self, volume: NDArray[np.float32]) -> None:
        """The next volume (X, Y, Z)."""
        self._put(volume.astype(self._kind, copy=False).tobytes(order="F"))

    def close(self) -> None:
        """No volume follows."""
        self._stream.write(self._gzip.flush())

    def _put(self, block: bytes) -> None:
        self._stream.write(self._gzip.compress(block))
