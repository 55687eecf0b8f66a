"""Volumes of three tissues by Atropos."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bids_ihf.validation.volumes import atropos_volumes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """antspyx leaves probability maps in the temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert tempfile.tempdir == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_few_bright_vessels_are_no_tissue() -> None:
    """Three slabs of tissue, and vessels of twice the intensity in 0.3 % of the brain."""
    rng = np.random.default_rng(0)
    data = np.zeros((32, 32, 32), dtype=np.float32)
    mask = np.zeros(data.shape, dtype=bool)
    mask[1:31, 1:31, 1:31] = True
    data[1:11], data[11:21], data[21:31] = 180, 400, 520
    data += rng.normal(0, 15, data.shape).astype(np.float32)
    data[~mask] = 0
    vessels = rng.choice(np.flatnonzero(mask), 80, replace=False)
    data.flat[vessels] = 1200
    volumes = atropos_volumes(data, np.diag([2.0, 2, 2, 1]), mask, "T1w")
    assert volumes == pytest.approx(
        dict.fromkeys(("CSF", "grey matter", "white matter"), 10 * 900 * 8 / 1000), rel=0.02
    )


def test_an_image_without_three_tissues_has_no_volumes(caplog: pytest.LogCaptureFixture) -> None:
    mask = np.ones((16, 16, 16), dtype=bool)
    flat = np.ones(mask.shape, dtype=np.float32)
    assert atropos_volumes(flat, np.eye(4), mask, "T1w") == {}
    assert "finds no tissues" in caplog.text
