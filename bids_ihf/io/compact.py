"""Images stored as whole steps: a harmonized image no finer than its noise, and its change map.

A scanner writes whole numbers, so a scan X is ``i`` steps of size s.  Its harmonized image is
stored as ``h`` steps of size u s k, with u the factor between the units of scan and target and k a
power of two, and the change as ``c = round(k h) - i`` steps of size s: the harmonized image in the
units of the scan, minus the scan.  The scan is then ``s (round(k h) - c)``, to the bit where it is
made of whole steps, and to MAX_RESTORE_ERROR of its maximum where it is not.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from bids_ihf.errors import BadData
from bids_ihf.io.nifti import Volume, header_block

Array = NDArray[np.float32]

MAX_RESTORE_ERROR = 0.9e-5
"""Largest error of the restored scan as a fraction of its maximum, where it has no steps."""
MAX_STEP_OF_NOISE = 1 / 3
"""Largest step of a harmonized image, in standard deviations of its noise: rounding to it adds a
uniform error, whose standard deviation is the step over the root of 12, 0.5 % to the noise."""
MAX_LATTICE_ERROR = 1e-6
"""Largest distance from whole steps, as a fraction of the maximum, that is rounding of float32."""
COMPRESSION_LEVEL = 4
"""zlib's level: a tenth smaller than isal's on whole steps, for 0.2 s of a T1w image of 1 mm."""
INTENT_NAME = b"ihf change"
"""NIfTI intent_name of a change map in steps; intent_p1 is u, intent_p2 is k."""
BYTE_VALUES = 256


class StepOverflowError(Exception):
    """A later volume of a series needs wider integers than the first."""


@frozen
class Steps:
    """Sizes of the steps of a scan and of its harmonized image.

    Attributes
    ----------
    source
        s, in units of the scan.
    unit
        u, units of the target over those of the scan.
    multiple
        k, a power of two.
    """

    source: float
    unit: float
    multiple: float

    @property
    def harmonized(self) -> float:
        """Size in units of the target, as the header of the file holds it."""
        return float(np.float32(self.source * self.unit * self.multiple))

    def of_images(self, image: Array, original: Array) -> tuple[NDArray[Any], NDArray[Any]]:
        """Whole steps of a harmonized image and of its change map, int32."""
        steps = np.rint(image / np.float32(self.harmonized))
        scan = np.rint(np.divide(original, self.source, dtype=np.float64))
        change = np.rint(steps * np.float32(self.multiple)) - scan
        return steps.astype(np.int32), change.astype(np.int32)

    def restore_error(self, original: Array) -> float:
        """Largest difference between a scan and its whole steps."""
        scan = np.rint(np.divide(original, self.source, dtype=np.float64)) * self.source
        return float(np.abs(scan.astype(np.float32) - original).max())

    @property
    def sidecar_fields(self) -> dict[str, float]:
        """What the sidecars say about the precision of both images."""
        return {
            "StoredStep": self.harmonized,
            "StoredMaxError": self.harmonized / 2,
            "ChangeUnitFactor": self.unit,
        }

    def restored(self, image: NDArray[Any], change: NDArray[Any]) -> Array:
        """The scan from a harmonized image and its change map, both in their units."""
        steps = np.rint(image / self.harmonized)
        scan = np.rint(steps * self.multiple) - np.rint(change / self.source)
        return np.asarray(scan * self.source, dtype=np.float32)


def choose_steps(
    image: Array, original: Array, source: float | None = None, noise: float = np.inf
) -> Steps:
    """Steps for a harmonized image and its scan (X, Y, Z).

    ``source`` is the step of the scan if it is known, ``noise`` the standard deviation of its
    noise, in its units, where that is known better than from one image.  The step of the
    harmonized image is the largest that noise justifies; where there is no noise, it is as fine as
    the scan is restored.
    """
    maximum = float(np.abs(original).max())
    step = source or find_step(original)
    if step is None or step < 2 * MAX_RESTORE_ERROR * maximum:
        step = 2 * MAX_RESTORE_ERROR * maximum or 1.0
    step = float(np.float32(step))
    positive = (original > 0) & (image > 0)
    ratios = image[positive] / original[positive]
    unit = float(np.float32(np.median(ratios))) if ratios.size else 1.0
    finest = 2 * MAX_RESTORE_ERROR * float(np.abs(image).max())
    largest = max(MAX_STEP_OF_NOISE * min(noise_sd(image), noise * unit), finest)
    exponent = np.floor(np.log2(largest / (unit * step))) if largest > 0 else 0.0
    return Steps(step, unit, float(2.0**exponent))


def find_step(data: Array) -> float | None:
    """The step of which all values are whole multiples; None if there is none."""
    values = np.unique(data.ravel()[:: max(1, data.size // 100_000)])
    differences = np.diff(np.concatenate([[0.0], values[values > 0]]))
    maximum = float(np.abs(data).max())
    tolerance = MAX_LATTICE_ERROR * maximum
    differences = differences[differences > 2 * tolerance]
    if not differences.size:
        return None
    largest = float(values.max())
    step = largest / max(1.0, float(np.rint(largest / differences.min())))
    counts = np.rint(data / np.float32(step))
    return step if float(np.abs(counts * np.float32(step) - data).max()) <= tolerance else None


def noise_sd(image: Array) -> float:
    """Standard deviation of the noise where an image (X, Y, Z) is bright.

    It is that of second differences, in which anatomy is weak, along the axis where it is least:
    the median of their absolute values, scaled as for a normal distribution (Rousseeuw and Croux
    1993, doi:10.1080/01621459.1993.10476408).
    """
    bright = image > image.mean()
    estimates = []
    for axis in range(3):
        if image.shape[axis] < 3:
            continue
        inner = np.moveaxis(bright, axis, 0)[1:-1]
        differences = np.abs(np.diff(np.moveaxis(image, axis, 0), 2, axis=0)[inner])
        if differences.size:
            estimates.append(float(np.median(differences)) / 0.6745 / np.sqrt(6))
    return min(estimates, default=0.0)


@frozen
class Encoding:
    """How whole steps are stored: the type, the size of a step, and the number of steps that is
    added so that all are positive and small numbers share their upper byte."""

    dtype: np.dtype[Any]
    slope: float
    added: int = 0

    @classmethod
    def of_image(cls, steps: NDArray[Any], slope: float, *, wide: bool = False) -> Encoding:
        """The narrowest encoding of a harmonized image."""
        for dtype in (np.int16, np.uint16):
            limits = np.iinfo(dtype)
            if not wide and limits.min <= steps.min() and steps.max() <= limits.max:
                return cls(np.dtype(dtype), slope)
        return cls(np.dtype(np.int32), slope)

    @classmethod
    def of_change(cls, steps: NDArray[Any], slope: float, *, wide: bool = False) -> Encoding:
        """The narrowest encoding of a change map."""
        half = BYTE_VALUES // 2
        added = half + BYTE_VALUES * max(0, -((int(steps.min()) + half) // BYTE_VALUES))
        if wide or int(steps.max()) + added > np.iinfo(np.uint16).max:
            return cls(np.dtype(np.int32), slope)
        return cls(np.dtype(np.uint16), slope, added)

    def header(self, like: Any, shape: tuple[int, ...], steps: Steps | None = None) -> bytes:
        """The bytes before the voxels, on the grid of a header; ``steps`` mark a change map."""
        header = like.copy()
        if steps is not None:
            header["intent_name"] = INTENT_NAME
            header["intent_p1"], header["intent_p2"] = steps.unit, steps.multiple
        slope_intercept = self.slope, -self.added * self.slope
        return header_block(header, shape, self.dtype, slope_intercept=slope_intercept)

    def voxels(self, steps: NDArray[Any], endianness: str) -> bytes:
        """The voxels of a volume (X, Y, Z).

        Raises
        ------
        StepOverflowError
            The type is too narrow.
        """
        stored = steps + self.added
        limits = np.iinfo(self.dtype)
        if stored.min() < limits.min or stored.max() > limits.max:
            raise StepOverflowError
        return stored.astype(self.dtype.newbyteorder(endianness)).tobytes(order="F")  # type: ignore[arg-type]


def encode_compact(image: Array, original: Array, like: Volume) -> tuple[bytes, bytes, Steps]:
    """A harmonized image and its change map as .nii.gz files on the grid of `like`, with their
    steps.  Equal input gives equal bytes."""
    steps = choose_steps(image, original)
    whole, change = steps.of_images(image, original)
    encodings = (
        (whole, Encoding.of_image(whole, steps.harmonized), None),
        (change, Encoding.of_change(change, steps.source), steps),
    )
    files = []
    for values, encoding, marked in encodings:
        block = encoding.header(like.header, values.shape, marked)
        compressor = compact_compressor()
        content = compressor.compress(block + encoding.voxels(values, like.header.endianness))
        files.append(content + compressor.flush())
    return files[0], files[1], steps


def compact_compressor() -> Any:
    """A gzip compressor for whole steps, which writes no time stamp."""
    return zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS, 9)


def steps_of_change_map(header: Any, slope: float) -> Steps | None:
    """The steps that the header of a change map holds; None if it is a plain difference.

    Raises
    ------
    BadData
        They are no positive numbers.
    """
    if header["intent_name"].item().rstrip(b"\0") != INTENT_NAME:
        return None
    steps = Steps(slope, float(header["intent_p1"]), float(header["intent_p2"]))
    if not all(np.isfinite(n) and n > 0 for n in (steps.source, steps.unit, steps.multiple)):
        raise BadData("the header of the change map is damaged; harmonize the image again.")
    return steps
