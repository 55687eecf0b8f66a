"""Measuring a training pool for the reports."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from bids_ihf.errors import BadData
from bids_ihf.geometry.grid import Grid
from bids_ihf.lab.benchmarks.pool_scans import (
    on_network_grid,
    open_pool,
    select_scans,
    skull_stripped,
)
from bids_ihf.lab.benchmarks.reference_ranges import slices_with_neighbours, write_ranges
from bids_ihf.lab.training.scan_pool import add_scan, write_index
from bids_ihf.network.checkpoint import ModelBundle, load_model
from bids_ihf.qc.out_of_distribution import REFERENCE_FILE as FAMILIAR
from bids_ihf.qc.out_of_distribution import read_reference
from bids_ihf.qc.reference_ranges import RANGES_FILE, read_ranges
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import BRAIN_MARGIN_VOXELS, NetworkInput, measure_profile

RADII = (24.5, 28.5, 10.5)
SHAPE = (49 + 2 * BRAIN_MARGIN_VOXELS, 57 + 2 * BRAIN_MARGIN_VOXELS, 21 + 2 * BRAIN_MARGIN_VOXELS)
"""The ball with its margin, as a scan on the network's grid has it."""


def scan(number: int, gain: float) -> NetworkInput:
    """A ball of two tissues, another texture for each subject and contrast for each scanner."""
    place = np.indices(SHAPE).T - (np.array(SHAPE) - 1) / 2
    radius = np.sqrt(np.square(place / np.array(RADII)).sum(-1).T)
    noise = ndimage.gaussian_filter(np.random.default_rng(number).normal(size=SHAPE), 2)
    data = np.where(radius < 0.6, 90.0, 60.0 * gain) + 40 * noise
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[2, 3] = -17
    inside = (radius < 1).astype(np.float32)
    return NetworkInput(
        data.astype(np.float32) * inside, inside, Grid(SHAPE, affine), IntensityScale(0.0, 110.0)
    )


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    scans = [
        add_scan(
            folder,
            scan(number, gain),
            subject=f"p{number}",
            site=site,
            vendor=site,
            modality="T1w",
        )
        for number in range(3)
        for site, gain in (("GE", 1.0), ("random", 0.7))
    ]
    write_index(folder, scans, {"seed": 5})
    return folder


@pytest.fixture(scope="module")
def model() -> ModelBundle:
    return load_model()


def test_both_files_are_written(pool: Path, model: ModelBundle, tmp_path: Path) -> None:
    ranges = write_ranges(tmp_path, pool, model, scans_per_subject=2)
    assert read_ranges(tmp_path / RANGES_FILE).modalities.keys() == {"T1w"}
    assert ranges.record["pool"] == {"seed": 5}
    assert (ranges.record["T1w_scans"], ranges.record["T1w_harmonized"]) == (12, 3)
    assert ranges.of("T1w", "distance_after") is not None
    reference = read_reference(tmp_path / FAMILIAR)
    assert reference.encoder_hash == model.encoder_hash
    distribution = reference.modalities["T1w"]
    assert distribution.scans.shape == (12, model.encoder.size)  # each as it is and skull-stripped
    strange = scan(9, 1.0)
    strange.data[:] = strange.data.max() - strange.data
    usual, far = (
        distribution.score(measure_profile(each, model.encoder))
        for each in (scan(9, 0.9), strange)
    )
    assert usual < far


def test_a_stored_scan_is_the_scan(pool: Path, model: ModelBundle) -> None:
    stored, _ = open_pool(pool)
    again = on_network_grid(stored, stored.scans[0])
    there, here = (
        measure_profile(again, model.encoder),
        measure_profile(scan(0, 1.0), model.encoder),
    )
    assert there.positions.tolist() == here.positions.tolist()
    np.testing.assert_allclose(there.embeddings, here.embeddings, atol=0.02)


def test_stripped_is_dark_outside() -> None:
    bright = scan(0, 1.0)
    bright.data[0] = 100.0
    bare = skull_stripped(bright)
    assert (bare.data[bare.mask < 0.5] == -1).all()
    np.testing.assert_array_equal(bare.data[bare.mask > 0.5], bright.data[bright.mask > 0.5])


def test_slices_have_their_neighbours(pool: Path) -> None:
    stored, _ = open_pool(pool)
    found = slices_with_neighbours(on_network_grid(stored, stored.scans[0]))
    assert found.min() >= 0
    assert found.max() < SHAPE[2]
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("content", [None, "{", '{"record": {}, "scans": []}'])
def test_no_pool(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(BadData, match="pool"):
        open_pool(tmp_path)


class TestSelection:
    SCANS = tuple(
        SimpleNamespace(subject=subject, vendor=vendor, modality=modality)
        for subject in ("a", "b", "c")
        for modality in ("T1w", "T2w")
        for vendor in ("GE", "GE", "Siemens", "random")
    )

    def select(self, count: int) -> dict[int, bool]:
        scans: Any = self.SCANS
        return select_scans(scans, count)

    def test_all(self) -> None:
        assert len(self.select(99)) == len(self.SCANS)

    def test_vendors_alternate(self) -> None:
        selected = self.select(3)
        assert len(selected) == 18
        first = [
            self.SCANS[number].vendor for number, harmonized in selected.items() if harmonized
        ]
        assert first == ["GE", "GE", "Siemens", "Siemens", "random", "random"]
