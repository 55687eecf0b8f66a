from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_ihf.errors import BadData
from bids_ihf.io.nifti import encode_nifti, open_image, read_volume

SHAPE = (5, 6, 7)
GEOMETRY = (
    "pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units", "descrip",
)  # fmt: skip


def oblique() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [11, -7, 31], degrees=True).as_matrix()
    affine[:3, :3] @= np.diag([-0.87, 1.1, 2.3])  # left-handed
    affine[:3, 3] = [90.123, -33.7, 12.9]
    return affine


def image(dtype: Any = np.int16, kind: Any = nib.Nifti1Image) -> Any:
    data = np.random.default_rng(0).integers(1, 200, SHAPE).astype(dtype)
    made = kind(data, oblique())
    made.header.set_xyzt_units("mm", "sec")
    made.header["descrip"] = b"from a scanner"
    return made


def written(data: bytes, path: Path) -> Any:
    path.write_bytes(data)
    return nib.load(path)


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 2), (0, 0), (4, 1)])
def test_geometry_survives_to_the_bit(tmp_path: Path, codes: tuple[int, int]) -> None:
    source = image()
    source.set_qform(oblique(), code=codes[0])
    source.set_sform(oblique(), code=codes[1])
    nib.save(source, tmp_path / "in.nii.gz")
    volume = read_volume(tmp_path / "in.nii.gz")
    raw = nib.load(tmp_path / "in.nii.gz").header
    back = written(encode_nifti(volume.data * 0.37, volume), tmp_path / "out.nii.gz")
    for name in GEOMETRY:
        assert back.header[name].tobytes() == raw[name].tobytes(), name
    assert np.array_equal(back.affine, volume.affine)
    assert back.get_data_dtype() == np.float32
    assert np.array_equal(np.asarray(back.dataobj), volume.data * np.float32(0.37))


def test_slope_is_applied_and_then_one(tmp_path: Path) -> None:
    source = image()
    source.header.set_slope_inter(0.5, -3)
    nib.save(source, tmp_path / "in.nii")
    volume = read_volume(tmp_path / "in.nii")
    back = written(encode_nifti(volume.data, volume), tmp_path / "out.nii.gz")
    raw = nib.Nifti1Header.from_fileobj(gzip.open(tmp_path / "out.nii.gz"), check=False)
    assert (raw["scl_slope"], raw["scl_inter"]) == (1, 0)
    assert np.array_equal(
        np.asarray(back.dataobj), np.asarray(nib.load(tmp_path / "in.nii").dataobj)
    )


def test_nifti_2_stays(tmp_path: Path) -> None:
    nib.save(image(kind=nib.Nifti2Image), tmp_path / "in.nii.gz")
    volume = read_volume(tmp_path / "in.nii.gz")
    back = written(encode_nifti(volume.data, volume), tmp_path / "out.nii.gz")
    assert isinstance(back, nib.Nifti2Image)
    assert np.array_equal(np.asarray(back.dataobj), volume.data)
    assert np.array_equal(back.affine, volume.affine)


def test_big_endian(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    data = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    nib.save(nib.Nifti1Image(data, oblique(), header), tmp_path / "in.nii.gz")
    volume = read_volume(tmp_path / "in.nii.gz")
    assert volume.header.endianness == ">"
    assert volume.data.dtype == np.float32
    assert np.array_equal(volume.data, data)
    back = written(encode_nifti(volume.data, volume), tmp_path / "out.nii.gz")
    assert np.array_equal(np.asarray(back.dataobj), data)


def test_masks_are_bytes_and_output_repeats(tmp_path: Path) -> None:
    nib.save(image(), tmp_path / "in.nii.gz")
    volume = read_volume(tmp_path / "in.nii.gz")
    mask = (volume.data > 100).astype(np.uint8)
    encoded = encode_nifti(mask, volume, dtype=np.uint8)
    assert encoded == encode_nifti(mask, volume, dtype=np.uint8)
    back = written(encoded, tmp_path / "mask.nii.gz")
    assert back.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(back.dataobj), mask)


def test_extensions_are_not_copied(tmp_path: Path) -> None:
    source = image()
    source.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"the name of a person"))
    nib.save(source, tmp_path / "in.nii.gz")
    volume = read_volume(tmp_path / "in.nii.gz")
    encoded = encode_nifti(volume.data, volume)
    assert b"name of a person" not in gzip.decompress(encoded)
    back = written(encoded, tmp_path / "out.nii.gz")
    assert np.array_equal(np.asarray(back.dataobj), volume.data)


def test_trailing_axes_of_one_are_dropped(tmp_path: Path) -> None:
    source = image()
    data = np.asarray(source.dataobj)[..., None, None]
    nib.save(nib.Nifti1Image(data, oblique()), tmp_path / "in.nii.gz")
    assert read_volume(tmp_path / "in.nii.gz").data.shape == SHAPE


def test_no_orientation_works_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = image()
    source.set_qform(None, code=0)
    source.set_sform(None, code=0)
    nib.save(source, tmp_path / "in.nii.gz")
    with caplog.at_level(logging.WARNING):
        volume = read_volume(tmp_path / "in.nii.gz")
    assert "in.nii.gz" in caplog.text
    assert "orientation" in caplog.text
    assert np.array_equal(volume.affine, nib.load(tmp_path / "in.nii.gz").affine)


def bad_truncated(path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:-5000])


def bad_text(path: Path) -> None:
    path.write_text("not an image at all\n" * 50)


def bad_nan(path: Path) -> None:
    data = np.ones(SHAPE, dtype=np.float32)
    data[0, 0, :2] = np.nan, np.inf
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)


def bad_constant(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.full(SHAPE, 7, dtype=np.int16), np.eye(4)), path)


def bad_volumes(path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(*SHAPE, 3)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)


def bad_complex(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones(SHAPE, dtype=np.complex64), np.eye(4)), path)


def bad_colour(path: Path) -> None:
    rgb = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), path)


def bad_affine(path: Path) -> None:
    source = image()
    source.header["sform_code"], source.header["qform_code"] = 1, 0
    for row in ("srow_x", "srow_y", "srow_z"):
        source.header[row] = 0
    path.write_bytes(
        gzip.compress(
            source.header.binaryblock[:348] + bytes(4) + np.asarray(source.dataobj).tobytes()
        )
    )


def bad_link(path: Path) -> None:
    path.symlink_to(path.parent / ".git" / "annex" / "gone.nii.gz")


def bad_absent(path: Path) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (bad_truncated, "truncated"),
        (bad_text, "NIfTI"),
        (bad_nan, "2 voxels are NaN"),
        (bad_constant, "all voxels are 7"),
        (bad_volumes, "3 volumes"),
        (bad_complex, "magnitude"),
        (bad_colour, "not real numbers"),
        (bad_affine, "affine"),
        (bad_link, "not fetched"),
        (bad_absent, "no such file"),
    ],
)
def test_bad_data_is_told_in_one_sentence(tmp_path: Path, make: Any, says: str) -> None:
    path = tmp_path / "sub-01_T1w.nii.gz"
    make(path)
    with pytest.raises(BadData) as caught:
        read_volume(path)
    message = str(caught.value)
    assert says in message
    assert str(path) in message
    assert "\n" not in message
    assert ";" in message  # what to do follows


def test_constant_is_allowed_on_request(tmp_path: Path) -> None:
    bad_constant(tmp_path / "in.nii.gz")
    assert (read_volume(tmp_path / "in.nii.gz", allow_constant=True).data == 7).all()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("/annex/objects/MD5E-s10485760--0123456789abcdef.nii.gz\n", "git-annex"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"),
    ],
)
def test_pointers_are_called_what_they_are(tmp_path: Path, content: str, kind: str) -> None:
    path = tmp_path / "sub-01_T1w.nii.gz"
    path.write_text(content)
    with pytest.raises(BadData, match=f"{kind} pointer"):
        open_image(path)
