"""The benchmark on travelling subjects from dataset to table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from bids_ihf.errors import NothingSelected
from bids_ihf.lab.benchmarks.travellers import alignment, methods
from bids_ihf.lab.benchmarks.travellers.benchmark import (
    SUMMARY_COLUMNS,
    TravelPlan,
    range_error,
    run_travellers,
    summarize_travels,
)
from bids_ihf.lab.benchmarks.travellers.methods import METHOD_LEVELS
from bids_ihf.lab.benchmarks.vendors.methods import (
    CURVE_ONLY,
    HISTOGRAM_MATCHING,
    NO_HARMONIZATION,
    TRUE_SCAN_MATCHING,
)
from bids_ihf.lab.benchmarks.vendors.plan import Weights
from bids_ihf.network.checkpoint import load_model
from tests.lab.benchmarks.random_comparator import write_comparator


def test_from_dataset_to_table(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment, "ITERATIONS", (2, 0, 0))  # these scans lie on each other
    comparator = write_comparator(tmp_path, "hierarchy-flow", load_model(), "T1w")
    weights = Weights(comparators={"Hierarchy Flow": (comparator,)})
    plan = TravelPlan(dataset, ("T1w", "T2w"), weights)
    rows = run_travellers(plan, tmp_path / "out")
    by_method = {row["method"]: row for row in rows}
    assert set(by_method) == {*METHOD_LEVELS, "Hierarchy Flow"}
    assert all(set(row) == set(SUMMARY_COLUMNS) for row in rows)
    assert {(row["modality"], row["subjects"], row["travels"]) for row in rows} == {("T1w", 3, 6)}
    # Only the units differ between these scanners, and contrast a little.
    for method in (HISTOGRAM_MATCHING, TRUE_SCAN_MATCHING, CURVE_ONLY):
        assert by_method[method]["rmse"] < 0.8 * by_method[NO_HARMONIZATION]["rmse"]
    with (tmp_path / "out" / "travellers.tsv").open() as file:
        assert [row["method"] for row in csv.DictReader(file, delimiter="\t")] == list(by_method)

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(methods, "estimate_warp", never)
    assert run_travellers(plan, tmp_path / "out") == rows


def test_a_dataset_without_scanners(tmp_path: Path) -> None:
    (tmp_path / "sub-1").mkdir()
    with pytest.raises(NothingSelected, match="acq or ses"):
        run_travellers(TravelPlan(tmp_path, ("T1w",), Weights()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_own_range_removes_the_units() -> None:
    truth = np.random.default_rng(0).random((20, 20, 1))
    mask = np.ones_like(truth, dtype=bool)
    assert range_error(truth * 40 + 7, truth, mask, own=True) == pytest.approx(0, abs=1e-9)
    assert range_error(truth * 40 + 7, truth, mask, own=False) > 0.3


def test_subjects_count_alike() -> None:
    rows = [
        {"subject": subject, "modality": "T1w", "method": method, "rmse": error,
         "rmse_aligned": error / 2}
        for method, factor in ((HISTOGRAM_MATCHING, 1.0), (CURVE_ONLY, 0.5))
        for subject, error in (("1", 0.1 * factor), ("1", 0.3 * factor), ("2", 0.4 * factor))
    ]  # fmt: skip
    matched, curve = summarize_travels(rows)
    assert matched["rmse"] == pytest.approx(0.3)
    assert (matched["ratio"], matched["nearer"], matched["travels"]) == (1.0, 0, 3)
    assert (curve["ratio"], curve["ratio_aligned"]) == pytest.approx((0.5, 0.5))
    assert curve["nearer"] == 3
