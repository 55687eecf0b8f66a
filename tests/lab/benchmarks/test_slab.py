"""The slab benchmark: slabs by their coordinates, and its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from bids_ihf.geometry.grid import Grid
from bids_ihf.lab.benchmarks.slab import SLAB_COLUMNS, aggregate, crop_to_slab
from bids_ihf.lab.benchmarks.vendors.methods import HISTOGRAM_MATCHING, IHF_HARMONY
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.network_input import NetworkInput

if TYPE_CHECKING:
    from bids_ihf.lab.benchmarks.tables import Row


def test_a_slab_keeps_its_coordinates() -> None:
    affine = np.eye(4)
    affine[2, 3] = -20.0
    data = np.random.default_rng(0).random((5, 6, 60), dtype=np.float32)
    scan = NetworkInput(data, np.ones_like(data), Grid(data.shape, affine), IntensityScale(0, 1))
    slab = crop_to_slab(scan, -10.0, 26.0)
    assert slab.z.tolist() == list(range(-10, 26))
    np.testing.assert_array_equal(slab.data, data[:, :, 10:46])


def rows_of(subject: str, errors: dict[str, tuple[float, float]]) -> list[Row]:
    """Two pairs of scanners, by each method."""
    return [
        {
            "subject": subject, "modality": "T1w", "source": source, "target": target,
            "reference": "another person", "method": method,
            "rmse": rmse, "psnr": -20 * np.log10(rmse), "ms_ssim": 1 - rmse,
        }
        for method, pair in errors.items()
        for (source, target), rmse in zip((("a", "b"), ("b", "a")), pair, strict=True)
    ]  # fmt: skip


def test_medians_over_subjects_of_means_over_pairs() -> None:
    table = aggregate(
        [
            *rows_of("s1", {HISTOGRAM_MATCHING: (0.2, 0.4), IHF_HARMONY: (0.1, 0.5)}),
            *rows_of("s2", {HISTOGRAM_MATCHING: (0.3, 0.3), IHF_HARMONY: (0.1, 0.1)}),
            *rows_of("s3", {HISTOGRAM_MATCHING: (0.6, 0.8), IHF_HARMONY: (0.5, 0.3)}),
        ]
    )
    assert all(set(row) == set(SLAB_COLUMNS) for row in table)
    by_method = {row["method"]: row for row in table}
    assert by_method[HISTOGRAM_MATCHING]["rmse"] == pytest.approx(0.3)
    assert by_method[HISTOGRAM_MATCHING]["nearer"] == 0
    ours = by_method[IHF_HARMONY]
    assert (ours["subjects"], ours["pairs"], ours["nearer"]) == (3, 6, 5)
    assert ours["rmse"] == pytest.approx(0.3)
    assert ours["ms_ssim"] == pytest.approx(0.7)
