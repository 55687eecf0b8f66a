"""A hash that follows the content of an image file, whatever its size."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_ihf.io.content_hash import content_hash, file_hash


def image_bytes(value: int, size: int = 64) -> bytes:
    data = np.random.default_rng(0).integers(0, 1000, (size, size, size)).astype(np.int16)
    data[size // 2, 0, 0] = value
    return nib.Nifti1Image(data, np.eye(4)).to_bytes()


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_an_edit_of_one_voxel_in_a_file_of_the_same_size(
    tmp_path: Path, extension: str, members: int
) -> None:
    path = tmp_path / f"image{extension}"
    hashes, sizes = [], []
    for value in (17, 18):
        content = image_bytes(value)
        if extension == ".nii.gz":  # stored, so that no value changes the size
            half = len(content) // members
            parts = [content[:half], content[half:]] if members == 2 else [content]
            if members == 2:
                parts.append(b"")
            content = b"".join(gzip.compress(part, 0, mtime=0) for part in parts)
        path.write_bytes(content)
        hashes.append(content_hash(path))
        sizes.append(len(content))
    assert sizes[0] == sizes[1]
    assert None not in hashes
    assert hashes[0] != hashes[1]
    assert content_hash(path) == hashes[1]


def test_large_compressed_images_are_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    content = bytearray(gzip.compress(image_bytes(1), 1, mtime=0))
    path.write_bytes(content)
    before = content_hash(path)
    content[len(content) // 2] ^= 1  # damage, which reading finds by the checksum
    path.write_bytes(content)
    assert content_hash(path) == before


def test_what_is_no_image_or_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "image.nii.gz"
    assert content_hash(path) is None
    hashes = set()
    for content in (b"", b"x", b"not an image", gzip.compress(b"text"), b"\x1f\x8b" * 4000):
        path.write_bytes(content)
        hashes.add(content_hash(path))
    assert len(hashes) == 5


@pytest.mark.timeout(20)
def test_a_pipe_or_device_is_never_opened(tmp_path: Path) -> None:
    pipe, device = tmp_path / "pipe_T1w.nii.gz", tmp_path / "device_T1w.nii.gz"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    assert [digest(path) for digest in (content_hash, file_hash) for path in (pipe, device)] == [
        None
    ] * 4


def test_hash_of_any_file(tmp_path: Path) -> None:
    path = tmp_path / "table.bval"
    path.write_bytes(b"0 1000")
    assert file_hash(path) == hashlib.sha256(b"0 1000").hexdigest()
    assert file_hash(None) is None
    assert file_hash(tmp_path) is None
