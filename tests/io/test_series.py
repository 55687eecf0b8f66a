"""Series in and out, volume by volume."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bids_ihf.errors import BadData
from bids_ihf.io.series import SeriesWriter, open_series

AFFINE = np.array([[0.0, -2, 0, 90], [2.1, 0, 0.1, -80], [0.1, 0, 3, -40], [0, 0, 0, 1]])


def save(path: Path, data: np.ndarray, slope: float | None = None) -> Path:
    image = nibabel.Nifti1Image(data, AFFINE)
    image.header["pixdim"][4] = 3.5
    image.header.set_xyzt_units("mm", "sec")
    if slope:
        image.header.set_slope_inter(slope, 2.0)
    nibabel.save(image, path)
    return path


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3000, (5, 6, 7, 4)).astype(np.int16)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("slope", [None, 0.25])
def test_volumes_are_nibabels(
    tmp_path: Path, data: np.ndarray, name: str, slope: float | None
) -> None:
    path = save(tmp_path / name, data, slope)
    volumes = np.stack(list(open_series(path).volumes()), axis=-1)
    assert volumes.dtype == np.float32
    assert np.array_equal(volumes, np.asarray(nibabel.load(path).dataobj, dtype=np.float32))


def written(path: Path) -> bytes:
    series, stream = open_series(path), io.BytesIO()
    writer = SeriesWriter(stream, series)
    for volume in series.volumes():
        writer.add(volume)
    writer.close()
    return stream.getvalue()


def test_written_series_has_grid_and_values(tmp_path: Path, data: np.ndarray) -> None:
    path = save(tmp_path / "a.nii.gz", data)
    content = written(path)
    assert content == written(path)
    out = tmp_path / "b.nii.gz"
    out.write_bytes(content)
    source, image = nibabel.load(path), nibabel.load(out)
    assert image.get_data_dtype() == np.float32
    assert np.array_equal(image.get_fdata(), data)
    assert image.affine.tobytes() == source.affine.tobytes()
    for field in ("pixdim", "qform_code", "sform_code", "xyzt_units"):
        assert image.header[field].tobytes() == source.header[field].tobytes(), field


def test_volumes_come_one_at_a_time(tmp_path: Path, data: np.ndarray) -> None:
    path = save(tmp_path / "a.nii", data)
    path.write_bytes(path.read_bytes()[: 352 + 2 * data[..., :2].size])
    volumes = open_series(path).volumes()
    assert np.array_equal(next(volumes), data[..., 0])
    assert np.array_equal(next(volumes), data[..., 1])
    with pytest.raises(
        BadData, match=r"a\.nii: its voxels cannot be read \(ends in volume 3 of 4"
    ):
        next(volumes)


def test_truncated(tmp_path: Path, data: np.ndarray) -> None:
    path = save(tmp_path / "a.nii.gz", data)
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(BadData, match=r"a\.nii\.gz: .*copy it again"):
        list(open_series(path).volumes())


def test_altered(tmp_path: Path, data: np.ndarray) -> None:
    """A checksum that is wrong is seen, though all volumes could be read."""
    path = save(tmp_path / "a.nii.gz", data)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadData, match=r"a\.nii\.gz: .*copy it again"):
        list(open_series(path).volumes())


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 1)])
def test_no_series(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path / "a.nii.gz", np.ones(shape, dtype=np.int16))
    with pytest.raises(BadData, match="a single volume"):
        open_series(path)


def test_no_nifti(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(b"no image"))
    with pytest.raises(BadData, match="cannot be read as NIfTI"):
        open_series(path)
