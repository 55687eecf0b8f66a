"""Aggregation, tables and figures of the benchmark, from rows computed by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bids_ihf.lab.benchmarks.tables import Table, aligned
from bids_ihf.lab.benchmarks.vendors.benchmark import Outcome
from bids_ihf.lab.benchmarks.vendors.cases import OFF_RANGE_GROUP, SAME_SCANNER
from bids_ihf.lab.benchmarks.vendors.example_slices import (
    AS_SCANNED,
    RANGE_SCALED,
    SCALED_INTENSITY_EDGES,
    TRUE_SCAN,
    CasePanel,
)
from bids_ihf.lab.benchmarks.vendors.figures import draw_figures
from bids_ihf.lab.benchmarks.vendors.methods import (
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
    NO_HARMONIZATION,
    REPEAT_SCAN,
)
from bids_ihf.lab.benchmarks.vendors.plan import Plan, Weights
from bids_ihf.lab.benchmarks.vendors.results import command_line, write_results
from bids_ihf.lab.benchmarks.vendors.tables import (
    ALL_VENDORS,
    VENDOR_COLUMNS,
    aggregate,
    short_table,
)

PAIRS = [("GE", "Siemens"), ("Philips", "Siemens"), (OFF_RANGE_GROUP, "Siemens"),
         (SAME_SCANNER, "GE")]  # fmt: skip
METHODS = (NO_HARMONIZATION, HISTOGRAM_MATCHING, IHF_HARMONY, REPEAT_SCAN)


def row(subject: str, source: str, target: str, method: str, value: float) -> dict[str, Any]:
    return {
        "subject": subject, "modality": "T1w", "source": source, "scanner": source,
        "target": target, "method": method, "rmse": value, "psnr": 20 + value,
        "ms_ssim": 0.5 + value, "rmse_frame": 2 * value, "psnr_frame": 30 + value,
        "rmse_own": 3 * value, "psnr_own": 40 + value, "ms_ssim_own": 0.25 + value,
    }  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Three subjects; two off-range scanners each; values 0.1 apart."""
    found = []
    for number, subject in enumerate(("a", "b", "c")):
        for pair, (source, target) in enumerate(PAIRS):
            for method in METHODS:
                value = 0.01 * (number + 3 * pair)
                found.append(row(subject, source, target, method, value))
                if source == OFF_RANGE_GROUP:
                    found.append(row(subject, source, target, method, value + 0.5))
    return found


def line(table: list[dict[str, Any]], source: str, target: str) -> dict[str, Any]:
    (found,) = (
        r
        for r in table
        if (r["source"], r["target"], r["method"]) == (source, target, IHF_HARMONY)
    )
    return found


def test_medians_over_subjects(rows: list[dict[str, Any]]) -> None:
    table = aggregate(rows, seed=1)
    pair = line(table, "Philips", "Siemens")
    assert pair["subjects"] == 3
    assert pair["rmse"] == pytest.approx(0.04)
    assert (pair["rmse_low"], pair["rmse_high"]) == pytest.approx((0.03, 0.05))
    assert pair["psnr"] == pytest.approx(20.04)
    assert pair["rmse_frame"] == pytest.approx(0.08)
    assert pair["rmse_own"] == pytest.approx(0.12)
    assert pair["ms_ssim_own"] == pytest.approx(0.29)


def test_groups_average_a_subjects_pairs_first(rows: list[dict[str, Any]]) -> None:
    table = aggregate(rows, seed=1)
    # Subjects' means over the two pairs are 0.015, 0.025, 0.035; own scanner is no pair.
    assert line(table, ALL_VENDORS, ALL_VENDORS)["rmse"] == pytest.approx(0.025)
    # 0.06, 0.07, 0.08 with 0.5 more in the second scanner.
    assert line(table, OFF_RANGE_GROUP, ALL_VENDORS)["rmse"] == pytest.approx(0.32)
    assert line(table, OFF_RANGE_GROUP, "Siemens")["rmse"] == pytest.approx(0.32)
    assert line(table, SAME_SCANNER, ALL_VENDORS)["rmse"] == pytest.approx(0.10)


def test_tables_as_text(rows: list[dict[str, Any]]) -> None:
    table = aggregate(rows, seed=1)
    perfect = table[0] | {"psnr": float("inf"), "rmse": 0.0}
    files = Table([perfect], VENDOR_COLUMNS).files("benchmark", {"Benchmark": {"Seed": 4}})
    head, first = files["benchmark.tsv"].decode().splitlines()
    assert head.startswith(
        "modality\tsource\ttarget\tmethod\tsubjects\trmse\trmse_low\trmse_high\tpsnr\tpsnr_low\t"
        "psnr_high\tms_ssim\tms_ssim_low\tms_ssim_high\trmse_frame\tpsnr_frame\trmse_own\tpsnr_own"
    )
    values = dict(zip(head.split("\t"), first.split("\t"), strict=True))
    assert values["psnr"] == "inf"
    assert values["rmse"] == "0"
    described = json.loads(files["benchmark.json"])
    assert set(described) == {*VENDOR_COLUMNS, "Benchmark"}
    assert described["Benchmark"] == {"Seed": 4}
    assert "95 %" in described["ms_ssim_low"]["Description"]
    assert set(METHODS) <= set(described["method"]["Levels"])


def test_missing_values_and_infinity() -> None:
    columns = {name: VENDOR_COLUMNS[name] for name in ("source", "psnr", "ms_ssim")}
    rows = [{"source": "GE", "psnr": float("inf"), "ms_ssim": float("nan")}, {"source": "GE"}]
    text = Table(rows, columns).files("table", {})["table.tsv"].decode()
    assert text == "source\tpsnr\tms_ssim\nGE\tinf\tn/a\nGE\tn/a\tn/a\n"


def test_aligned_text(rows: list[dict[str, Any]]) -> None:
    lines = short_table(aggregate(rows, seed=1)).splitlines()
    assert len(lines) == 1 + 3 * len(METHODS)  # three groups of pairs
    assert {line.index(method) for line, method in zip(lines[1:], 3 * METHODS, strict=True)} == {
        lines[0].index("method")
    }
    assert aligned([], ["a", "bc"]) == "a  bc\n"


def panels() -> list[CasePanel]:
    rng = np.random.default_rng(0)
    found = []
    for source in (SAME_SCANNER, "GE", "Philips", OFF_RANGE_GROUP):
        counts = {
            name: rng.integers(0, 50, len(SCALED_INTENSITY_EDGES) - 1)
            for name in (AS_SCANNED, RANGE_SCALED, HISTOGRAM_MATCHING, IHF_HARMONY)
        }
        x, y = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 95), indexing="ij")
        images = {
            name: np.exp(-rng.uniform(1, 4) * (x**2 + y**2)).astype(np.float32)
            for name in (NO_HARMONIZATION, HISTOGRAM_MATCHING, IHF_HARMONY, TRUE_SCAN)
        }
        brain = images[TRUE_SCAN] > 0.5
        found.append(CasePanel("a", "T1w", source, source, counts, images, brain))
    return found


def test_figures(rows: list[dict[str, Any]]) -> None:
    table = aggregate(rows, seed=1)
    figures = draw_figures(table, panels())
    assert set(figures) == {"fig-bars.png", "fig-densities-T1w.png", "fig-images-T1w.png"}
    assert figures == draw_figures(table, panels())
    for content in figures.values():
        assert len(content) <= 300 * 1024
        with Image.open(io.BytesIO(content)) as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100


def test_figure_of_comparators(rows: list[dict[str, Any]]) -> None:
    """One without a result for a scanner leaves its place empty."""
    cases = panels()
    cases[1].images["MURD"] = cases[1].images[IHF_HARMONY]
    figures = draw_figures(aggregate(rows, seed=1), cases)
    with (
        Image.open(io.BytesIO(figures["fig-comparators-T1w.png"])) as picture,
        Image.open(io.BytesIO(figures["fig-images-T1w.png"])) as plain,
    ):
        assert picture.height == plain.height
        shown = np.asarray(picture.convert("L")).astype(float)
    rows_of_case = np.array_split(shown[30:-30], 3)
    columns = [np.array_split(row, 5, axis=1)[2].max() for row in rows_of_case]
    assert columns[0] > 100
    assert max(columns[1:]) == 0


def test_results(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    weights = Weights(networks={IHF_HARMONY: None, "bare": Path("/some/where/bare.safetensors")})
    plan = Plan(
        Path("/some/where"), subjects=("a", "b", "c"), modalities=("T1w",), weights=weights
    )
    write_results(tmp_path / "out", plan, Outcome(rows, panels(), {IHF_HARMONY: "1234"}))
    about = json.loads((tmp_path / "out" / "benchmark.json").read_text())["Benchmark"]
    assert about["People"] == ["a", "b", "c"]
    assert about["Hashes"] == {IHF_HARMONY: "1234"}
    assert "/some/where" not in (tmp_path / "out" / "benchmark.json").read_text()
    assert "--network 'bare=bare.safetensors'" in command_line(plan)
    subjects = (tmp_path / "out" / "benchmark_subjects.tsv").read_text().splitlines()
    assert len(subjects) == 1 + len(rows)
    assert (tmp_path / "out" / "fig-bars.png").is_file()
