"""Images that are not as they should be, and what is to become of each."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from attrs import frozen
from nibabel.nifti1 import header_dtype

from tests.reliability import phantom

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = 348
UNUSUAL = "inspect the report before using"
NOT_NIFTI = "cannot be read as NIfTI"
TAKEN = ""
"""What is said of an image that is harmonized."""


@frozen
class BadImage:
    """``make`` writes the file; ``says`` is part of the sentence that refuses it, empty where it
    is harmonized; ``warns`` part of what is said all the same."""

    name: str
    make: Callable[[Path], None]
    says: str = TAKEN
    warns: str = ""
    suffix: str = "T1w"
    ending: str = ".nii.gz"
    needs_permissions: bool = False


def content(suffix: str = "T1w") -> bytes:
    """The uncompressed file of a good image."""
    return bytes(phantom.image(suffix).to_bytes())


def packed(raw: bytes) -> bytes:
    """As the bytes of a .nii.gz file."""
    return gzip.compress(raw, 1, mtime=0)


def raw(make: Callable[[], bytes]) -> Callable[[Path], None]:
    """A file of these bytes."""
    return lambda path: _write(path, make())


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def header(**fields: Any) -> Callable[[Path], None]:
    """A good image but for some fields of its header."""

    def make(path: Path) -> None:
        block = np.frombuffer(content()[:HEADER], header_dtype).copy()
        for name, value in fields.items():
            block[name] = value
        path.write_bytes(packed(block.tobytes() + content()[HEADER:]))

    return make


def rows(matrix: Any) -> dict[str, Any]:
    """The sform as fields of the header."""
    return {
        "srow_x": matrix[0], "srow_y": matrix[1], "srow_z": matrix[2], "sform_code": 1,
    }  # fmt: skip


def voxels(
    change: Callable[[np.ndarray], np.ndarray], dtype: Any = np.float32, suffix: str = "T1w"
) -> Callable[[Path], None]:
    """A good image but for its voxels."""

    def make(path: Path) -> None:
        data = change(phantom.head(suffix).astype(np.float64))
        with np.errstate(all="ignore"):
            image = nibabel.Nifti1Image(data.astype(dtype), phantom.affine_of())
        path.write_bytes(packed(image.to_bytes()))

    return make


def _set(place: Any, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(data: np.ndarray) -> np.ndarray:
        data[place] = value
        return data

    return change


def _single_voxel() -> Callable[[Path], None]:
    return voxels(lambda data: _set((3, 3, 3), 9)(data * 0))


def _as_kind(dtype: Any) -> Callable[[Path], None]:
    """A good image of another type of voxels."""

    def make(path: Path) -> None:
        data = phantom.head().astype(np.float64)
        kind = np.dtype(dtype)
        image = nibabel.Nifti1Image(
            np.zeros(data.shape, kind) if kind.names else data.astype(kind), phantom.affine_of()
        )
        path.write_bytes(packed(image.to_bytes()))

    return make


def _scaled(slope: float, intercept: float) -> Callable[[Path], None]:
    return header(scl_slope=slope, scl_inter=intercept)


def _big_endian(path: Path) -> None:
    image = phantom.image()
    swapped = nibabel.Nifti1Image(
        np.asarray(image.dataobj), None, image.header.as_byteswapped(">")
    )
    path.write_bytes(packed(swapped.to_bytes()))


def _nifti2(path: Path) -> None:
    image = nibabel.Nifti2Image(phantom.head(), phantom.affine_of())
    path.write_bytes(packed(image.to_bytes()))


def _analyze(path: Path) -> None:
    image = nibabel.AnalyzeImage(phantom.head(), phantom.affine_of())
    path.write_bytes(packed(image.header.binaryblock + phantom.head().tobytes()))


def _mgh(path: Path) -> None:
    path.write_bytes(packed(nibabel.MGHImage(phantom.head(), phantom.affine_of()).to_bytes()))


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../escaped.nii", content())
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../escaped.nii"), io.BytesIO())
    return buffer.getvalue()


def _flipped() -> bytes:
    data = bytearray(packed(content()))
    data[len(data) // 2] ^= 0x10
    return bytes(data)


def _wrong_sum() -> bytes:
    data = bytearray(packed(content()))
    data[-6] ^= 0xFF
    return bytes(data)


def _unpickled() -> bytes:
    return pickle.dumps({"data": [1, 2, 3]})


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.symlink_to("../../../.git/annex/objects/gone")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _unreadable(path: Path) -> None:
    path.write_bytes(packed(content()))
    path.chmod(0)


def _sheared() -> np.ndarray:
    affine = phantom.affine_of()
    affine[0, 1] = 1.0
    return affine


def _moved(millimetres: float) -> np.ndarray:
    affine = phantom.affine_of()
    affine[0, 3] += millimetres
    return affine


def _shaped(*shape: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = np.resize(phantom.head(), shape).astype(np.int16)
        path.write_bytes(packed(nibabel.Nifti1Image(data, phantom.affine_of()).to_bytes()))

    return make


def _claims(*shape: int) -> dict[str, Any]:
    return {"dim": [len(shape), *shape, *(7 - len(shape)) * [1]]}


AFFINE = phantom.affine_of()
FLAT = np.diag([4.0, 4.0, 0.0, 1.0])
TWICE = np.array([[4.0, 4.0, 0, 0], [0, 0, 0, 0], [0, 0, 4.0, 0], [0, 0, 0, 1]])
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
RGBA = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
ZERO = np.zeros((4, 4))

FILES = (
    BadImage("half a file", raw(lambda: packed(content())[:400]), "truncated"),
    BadImage("a header without voxels", raw(lambda: packed(content()[:352])), "truncated"),
    BadImage("half a header", raw(lambda: packed(content()[:200])), NOT_NIFTI),
    BadImage("no byte at all", raw(bytes), NOT_NIFTI),
    BadImage("text", raw(lambda: b"not an image\n" * 99), NOT_NIFTI),
    BadImage("compressed text", raw(lambda: packed(b"not an image\n" * 99)), NOT_NIFTI),
    BadImage("compressed nothing", raw(lambda: packed(b"")), NOT_NIFTI),
    BadImage("noise", raw(lambda: np.random.default_rng(0).bytes(4000)), NOT_NIFTI),
    BadImage("a file of zeros", raw(lambda: bytes(4000)), NOT_NIFTI),
    BadImage("not compressed", raw(content), "truncated"),
    BadImage("a zip archive", raw(_zip), NOT_NIFTI),
    BadImage("a tar archive", raw(_tar), NOT_NIFTI),
    BadImage("a pickle", raw(_unpickled), NOT_NIFTI),
    BadImage("a flipped bit", raw(_flipped), "truncated"),
    BadImage("a wrong checksum", raw(_wrong_sum), "truncated"),
    BadImage("a dangling link", _dangling, "not fetched"),
    BadImage("a link to itself", _loop, "not fetched"),
    BadImage("a pipe", _pipe, "no such file"),
    BadImage("a device", _device, "no such file"),
    BadImage("not permitted", _unreadable, "cannot be read", needs_permissions=True),
    BadImage("half a plain file", raw(lambda: content()[:700]), "truncated", ending=".nii"),
    BadImage("a plain file", raw(content), ending=".nii"),
    BadImage("Analyze 7.5", _analyze, NOT_NIFTI),
    BadImage("FreeSurfer's MGH", _mgh, NOT_NIFTI),
)

HEADERS = (
    BadImage("affine of zeros", header(**rows(ZERO), qform_code=0), "affine"),
    BadImage("flat affine", header(**rows(FLAT)), "affine"),
    BadImage("two axes alike", header(**rows(TWICE)), "affine"),
    BadImage("affine with NaN", header(**rows(np.full((4, 4), np.nan))), "affine"),
    BadImage("infinite affine", header(**rows(np.full((4, 4), np.inf))), "affine"),
    BadImage("sheared affine", header(**rows(_sheared())), warns="sheared"),
    BadImage("at the moon", header(**rows(_moved(4e11))), "affine"),
    BadImage("qform and sform disagree", header(**rows(_moved(30)), qform_code=1),
             warns="disagree"),
    BadImage("no orientation", header(qform_code=0, sform_code=0), warns="no orientation"),
    BadImage("codes unknown", header(qform_code=99, sform_code=99)),
    BadImage("zooms of zero", header(pixdim=[1, 0, 0, 0, 0, 0, 0, 0], sform_code=0, qform_code=1),
             "invalid voxel sizes"),
    BadImage("negative zooms", header(pixdim=[1, -4, -4, -4, 0, 0, 0, 0]), warns="negative"),
    BadImage("zooms with NaN", header(pixdim=[1, np.nan, 4, 4, 0, 0, 0, 0], sform_code=0),
             "affine"),
    BadImage("quaternion of no rotation", header(quatern_b=3, sform_code=0, qform_code=1),
             NOT_NIFTI),
    BadImage("metres taken for millimetres", header(**rows(AFFINE / 1000), xyzt_units=1),
             "units"),
    BadImage("micrometres for millimetres", header(**rows(AFFINE * 1000), xyzt_units=3), "units"),
    BadImage("unknown units", header(xyzt_units=0)),
    BadImage("units that do not exist", header(xyzt_units=7)),
    BadImage("no dimension", header(dim=[0] * 8), "not have three dimensions"),
    BadImage("nine dimensions", header(dim=[9] + 7 * [1]), NOT_NIFTI),
    BadImage("negative size", header(**_claims(-10, 10, 6)), "not have three dimensions"),
    BadImage("size of zero", header(**_claims(0, 10, 6)), "not have three dimensions"),
    BadImage("huge sizes claimed", header(**_claims(30000, 30000, 30000)), "truncated"),
    BadImage("large sizes claimed", header(**_claims(1500, 1500, 1500)), "truncated"),
    BadImage("many volumes claimed", header(**_claims(10, 10, 6, 30000)), "more than the"),
    BadImage("a slice more claimed", header(**_claims(10, 10, 7)), "truncated"),
    BadImage("two dimensions", _shaped(10, 60), "not have three dimensions"),
    BadImage("one slice", _shaped(10, 10, 1)),
    BadImage("one voxel", _shaped(1, 1, 1), "all voxels are"),
    BadImage("a fourth axis of one", _shaped(10, 10, 6, 1)),
    BadImage("three volumes", _shaped(10, 10, 6, 3), "3 volumes"),
    BadImage("three volumes on the fifth axis", _shaped(10, 10, 6, 1, 3), "3 volumes"),
    BadImage("unknown type of voxels", header(datatype=999), NOT_NIFTI),
    BadImage("voxels of one bit", header(datatype=1, bitpix=1), NOT_NIFTI),
    BadImage("type and bits disagree", header(bitpix=64)),
    BadImage("complex numbers", _as_kind(np.complex64), "magnitude"),
    BadImage("long complex numbers", _as_kind(np.complex128), "magnitude"),
    BadImage("colours", _as_kind(RGB), "not real numbers"),
    BadImage("colours with opacity", _as_kind(RGBA), "not real numbers"),
    BadImage("bytes", voxels(lambda data: data / 5, np.uint8)),
    BadImage("whole numbers of 64 bits", voxels(lambda data: data, np.int32)),
    BadImage("double precision", _as_kind(np.float64)),
    BadImage("int16 with a slope", _scaled(0.5, 10)),
    BadImage("a slope of zero", _scaled(0, 0)),
    BadImage("a slope that is NaN", _scaled(np.nan, np.nan)),
    BadImage("an infinite slope", _scaled(np.inf, 0), warns="infinite slope"),
    BadImage("a slope out of all range", _scaled(3e38, 0), "infinite"),
    BadImage("a negative slope", _scaled(-1, 0), "no voxel is positive"),
    BadImage("big-endian", _big_endian),
    BadImage("NIfTI-2", _nifti2),
    BadImage("a header of a pair", header(magic=b"ni1")),
    BadImage("a wrong magic", header(magic=b"abc"), NOT_NIFTI),
    BadImage("a wrong header size", header(sizeof_hdr=349)),
    BadImage("voxels said to begin in the header", header(vox_offset=100), NOT_NIFTI),
    BadImage("voxels said to begin far beyond", header(vox_offset=1e9), "truncated"),
    BadImage("voxels said to begin nowhere", header(vox_offset=np.nan), NOT_NIFTI),
)  # fmt: skip

VOXELS = (
    BadImage("a voxel that is NaN", voxels(_set((3, 3, 3), np.nan)), "1 voxels are NaN"),
    BadImage("an infinite voxel", voxels(_set((3, 3, 3), np.inf)), "1 voxels are NaN"),
    BadImage("NaN throughout", voxels(_set(..., np.nan)), "NaN"),
    BadImage("beyond single precision", voxels(_set((3, 3, 3), 1e300), np.float64), "infinite"),
    BadImage("all zero", voxels(_set(..., 0)), "all voxels are 0"),
    BadImage("all alike", voxels(_set(..., 7)), "all voxels are 7"),
    BadImage("all negative", voxels(lambda data: -1 - data), "no voxel is positive"),
    BadImage(
        "a single bright voxel", voxels(lambda data: _set((3, 3, 3), 9)(data * 0)), warns=UNUSUAL
    ),
    BadImage("two values", voxels(lambda data: (data > 0) * 1.0), warns=UNUSUAL),
    BadImage("next to nothing", voxels(lambda data: data * 1e-42), "one intensity"),
    BadImage("very large numbers", voxels(lambda data: data * 1e30)),
)


def _table(kind: str, text: str | None) -> Callable[[Path], None]:
    """A good series with another .bval or .bvec, or none."""

    def make(path: Path) -> None:
        phantom.write_scan(path, "dwi")
        file = path.with_name(f"{path.name.split('.')[0]}.{kind}")
        file.unlink()
        if text is not None:
            file.write_text(text)

    return make


def _turned(path: Path) -> None:
    phantom.write_scan(path, "dwi")
    file = path.with_name(f"{path.name.split('.')[0]}.bvec")
    file.write_text("\n".join(map(" ".join, zip(*map(str.split, file.open()), strict=True))))


def _series(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        phantom.write_scan(path, "dwi")
        voxels(change, suffix="dwi")(path)

    return make


def _cut_series(path: Path) -> None:
    phantom.write_scan(path, "dwi")
    path.write_bytes(packed(content("dwi")[:-2000]))


def _series_bval(*values: float) -> str:
    return " ".join(f"{value:g}" for value in values) + "\n"


SERIES = tuple(
    BadImage(name, make, says, suffix="dwi")
    for name, make, says in (
        ("no b-values", _table("bval", None), "has no .bval file"),
        ("no directions", _table("bvec", None), "has no .bvec file"),
        ("no b-value in the file", _table("bval", ""), "is empty"),
        ("no direction in the file", _table("bvec", ""), "is empty"),
        ("text for b-values", _table("bval", "zero thousand\n"), "not a readable table"),
        ("ragged directions", _table("bvec", "0 1\n0\n0 0\n"), "not a readable table"),
        ("a direction that is NaN", _table("bvec", 3 * "0 0 1 1 1 1 1 nan\n"), "NaN"),
        ("a row too many", _table("bvec", 4 * (8 * "1 " + "\n")), "4 rows"),
        ("directions in rows", _turned, "transpose it"),
        ("too few b-values", _table("bval", _series_bval(0, 0, 1000)), "3 b-values"),
        ("a negative b-value", _table("bval", _series_bval(0, 0, -5, *5 * [1000])), "s/mm2"),
        ("b-values in s/m2", _table("bval", _series_bval(0, 0, *6 * [1e9])), "s/mm2"),
        ("b-values in ms/um2", _table("bval", _series_bval(0, 0, *6 * [1])), "multiply by 1000"),
        ("b0 of 300", _table("bval", _series_bval(300, 300, *6 * [800])), "--b0-threshold"),
        ("nothing unweighted", _table("bval", _series_bval(*8 * [1000])), "no volume has"),
        ("a volume without direction", _table("bvec", 3 * "0 0 1 1 1 1 1 0\n"), "no direction"),
        ("a NaN in a volume", _series(_set((3, 3, 3, 4), np.nan)), "volume 5"),
        ("a slice lost", _series(_set((..., 3, 5), 0)), "empty slices"),
        ("a series of zeros", _series(_set(..., 0)), "all voxels are 0"),
        ("a truncated series", _cut_series, "truncated"),
    )
)

IMAGES = (*FILES, *HEADERS, *VOXELS, *SERIES)
