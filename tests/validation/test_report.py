"""Tables and page, from values that were not measured: what they say, and that they agree."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bids_ihf.errors import BadData, HarmonyError, UsageError
from bids_ihf.io.tsv import read_tsv
from bids_ihf.validation import results as results_module
from bids_ihf.validation.comparison import METRICS
from bids_ihf.validation.effects import Covariates
from bids_ihf.validation.features import APPEARANCE, HEAD_SHAPE, HISTOGRAM
from bids_ihf.validation.measuring import Findings, Workers
from bids_ihf.validation.outcomes import (
    BLURRED,
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
    UNTOUCHED,
    Outcome,
)
from bids_ihf.validation.page import page_section, write_page
from bids_ihf.validation.records import COMBAT, volume_records
from bids_ihf.validation.results import COLUMNS, target_results
from bids_ihf.validation.run import choose_targets
from bids_ihf.validation.scans import Scan, Study
from tests.validation.test_volume_files import scan

GAPS = {UNTOUCHED: 6.0, HISTOGRAM_MATCHING: 4.0, IHF_HARMONY: 1.0}
"""Difference of grey matter between two scanners after each method, %."""


def outcomes(people: int, ventricles_after: float = 1.0) -> tuple[Study, tuple[Outcome, ...]]:
    """Volumes that shrink with age, features in which the scanner shows before and not after."""
    rng = np.random.default_rng(0)
    scans, found = [], []
    for number in range(people):
        for session, scanner in (("a", "GE"), ("b", "Siemens")):
            scans.append(Scan(scan(f"sub-{number:02d}_ses-{session}_T1w").image, scanner))
    age = np.linspace(20, 80, people)
    for index, one in enumerate(scans):
        shown = one.scanner == "Siemens"
        for method in (UNTOUCHED, BLURRED, HISTOGRAM_MATCHING, IHF_HARMONY):
            seen = 7.0 * shown * (method in (UNTOUCHED, BLURRED))
            noise = rng.normal(size=4)
            noise[0] += seen
            features = {APPEARANCE: noise, HISTOGRAM: noise[:2], HEAD_SHAPE: rng.normal(size=3)}
            gap = 1 + GAPS.get(method, 0) / 100 * shown
            wide = 1 + 0.01 * ventricles_after * shown * (method == IHF_HARMONY)
            grey = (700 - age[index // 2]) * gap + rng.normal(0, 0.5)
            volumes = {"grey matter": grey, "CSF": 200 * wide + rng.normal(0, 0.2)}
            target = None if method in (UNTOUCHED, BLURRED) else "GE"
            by_tool = {} if method == BLURRED else {"segmentation": volumes}
            pair = shown and method in GAPS
            metrics = dict.fromkeys(METRICS, GAPS[method] / 100) if pair else {}
            truth = scans[index - 1] if pair else None
            found.append(Outcome(one, method, target, by_tool, features, truth, metrics))
    return Study("T1w", tuple(scans), "the test"), tuple(found)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people with ages, grey matter helped and CSF harmed."""
    study, found = outcomes(12, ventricles_after=3)
    findings = Findings(study, ("GE",), found, ("sub-99: broken.",))
    ages = {f"{n:02d}": {"age": f"{20 + 60 * n / 11}", "sex": "M"} for n in range(12)}
    covariates = Covariates.read(ages, study.people, ["age", "sex"])
    assert covariates.names == ("age",)  # nobody differs in sex
    part = target_results(volume_records(found), "GE", covariates)
    tables = {
        "pairs": results_module.pair_rows(findings),
        "volumes": results_module.volume_rows(findings, part),
        "probes": results_module.probe_rows(findings),
        "effects": results_module.effect_rows(findings, part, covariates),
        "images": results_module.image_rows(findings, volume_records(found)),
    }
    out = tmp_path_factory.mktemp("validation")
    for name, rows in tables.items():
        results_module.write_table(out, name, rows)
    write_page(out, [page_section(findings, [part], tables)], {"Dataset": "<made up>"})
    return out


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """Rows of a table, whose columns its dictionary describes."""
    columns, rows = read_tsv(folder / f"validation_{name}.tsv")
    dictionary = json.loads((folder / f"validation_{name}.json").read_text())
    assert columns == list(dictionary) == list(COLUMNS[name])
    assert rows
    return rows


def page_text(folder: Path) -> str:
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", (folder / "validation.html").read_text())
    return " ".join(text.split())


def test_the_page_says_what_helped_and_what_harmed(report: Path) -> None:
    text = page_text(report)
    assert "Of 2 structures, harmonization helped in 1, did harm in 1" in text
    grey = re.search(r"grey matter \(segmentation\): scanners differ by .*?moved by [^ ]+ %", text)
    assert grey is not None
    assert "5.9 % before" in grey[0] or "5.8 % before" in grey[0]
    assert "harmonization helped" in grey[0]
    assert "histogram matching 3.9 %" in grey[0]
    assert re.search(r"CSF \(segmentation\):[^:]*: harmonization did harm", text)
    assert "1 image could not be used: sub-99: broken." in text
    assert "&lt;made up&gt;" in text  # names from outside are escaped


def test_volumes(report: Path) -> None:
    rows = {(r["structure"], r["method"]): r for r in table(report, "volumes")}
    before, after = rows["grey matter", UNTOUCHED], rows["grey matter", IHF_HARMONY]
    assert float(before["avdp"]) == pytest.approx(100 * 0.06 / 1.03, abs=0.2)
    assert float(after["avdp_change_high"]) < 0
    assert (before["verdict"], after["verdict"]) == ("n/a", "helped")
    assert rows["CSF", IHF_HARMONY]["verdict"] == "harmed"
    assert float(after["icc_agreement"]) > float(before["icc_agreement"])
    assert after["avdp_repeat"] == "n/a"
    assert float(rows["grey matter", COMBAT]["avdp"]) < 2


def test_probes(report: Path) -> None:
    rows = {(r["features"], r["method"]): r for r in table(report, "probes")}
    assert float(rows[APPEARANCE, UNTOUCHED]["accuracy"]) > 0.8
    assert float(rows[APPEARANCE, BLURRED]["accuracy"]) > 0.8
    after = rows[APPEARANCE, IHF_HARMONY]
    assert float(after["accuracy"]) <= float(after["permuted"])
    assert (HEAD_SHAPE, UNTOUCHED) in rows
    assert (HEAD_SHAPE, IHF_HARMONY) not in rows


def test_effects_of_age_before_and_after(report: Path) -> None:
    rows = {(r["structure"], r["method"]): r for r in table(report, "effects")}
    for method in (UNTOUCHED, IHF_HARMONY, COMBAT):
        row = rows["grey matter", method]
        truth = -100 / 650
        assert float(row["effect_low"]) < truth < float(row["effect_high"])
        assert row["people"] == "12"


def test_pairs_and_images(report: Path) -> None:
    pairs = table(report, "pairs")
    assert len(pairs) == 12 * 3
    assert {row["rmse"] for row in pairs} == {"0.06", "0.04", "0.01"}
    assert pairs[0]["truth"] != pairs[0]["source"]
    assert {row["rmse_deformable"] for row in pairs} == {"n/a"}
    assert len(table(report, "images")) == 24 * 3 * 2


def test_two_people_are_told_that_they_are_few() -> None:
    study, found = outcomes(2)
    findings = Findings(study, ("GE",), found, ())
    part = target_results(volume_records(found), "GE", Covariates())
    assert part.combat_problem is not None
    tables = {name: [] for name in COLUMNS}
    tables["volumes"] = results_module.volume_rows(findings, part)
    section = page_section(findings, [part], tables)
    assert "With 2 people" in section["targets"][0]["summary"]
    assert results_module.effect_rows(findings, part, Covariates()) == []


def test_targets_are_chosen_by_name() -> None:
    study, _ = outcomes(2)
    assert choose_targets(study, None) == ("GE",)
    assert choose_targets(study, "siemens") == ("Siemens",)
    assert choose_targets(study, "each") == ("GE", "Siemens")
    with pytest.raises(UsageError, match="choose from GE, Siemens, or each"):
        choose_targets(study, "Philips")


def _half(number: int) -> int:
    if number % 2:
        raise BadData(f"{number}: odd; name another.")
    return number // 2


@pytest.mark.parametrize("count", [1, 2])
def test_one_failure_stops_no_other_image(count: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        results = Workers(count, _nothing).run(_half, [(4,), (3,), (8,)], "halving")
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"halving: {number} of 3 images" for number in (1, 2, 3)]
    assert [results[0], results[2]] == [2, 4]
    assert isinstance(results[1], HarmonyError)
    assert str(results[1]) == "3: odd; name another."


def _nothing() -> None:
    """Set up nothing."""
