"""Tables and page of the group."""

from __future__ import annotations

import csv
import json
import shutil
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_ihf.bids.harmonized_images import find_harmonized_images
from bids_ihf.bids.scans_table import MEASURE_COLUMNS
from bids_ihf.errors import NothingSelected
from bids_ihf.reports.group_page import group_page
from bids_ihf.reports.group_statistics import (
    between_scanner_variance,
    find_outliers,
    load_group,
    principal_components,
    robust_z_scores,
    scanner_name,
    scanner_separation,
    stack_embeddings,
)
from bids_ihf.reports.group_tables import GROUP_COLUMNS, group_tables
from bids_ihf.reports.participant import build_participant_report
from bids_ihf.reports.templates import is_numeric
from tests.reports.conftest import EVIL, add_image, make_study
from tests.reports.test_participant import Page


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_tables(out: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert [path.name for path in group_tables(out)] == [
        "group_T1w.tsv",
        "group_T2w.tsv",
        "participants.tsv",
    ]
    first = rows(out / "group_T1w.tsv")
    assert list(first[0]) == list(GROUP_COLUMNS)
    assert set(MEASURE_COLUMNS) < set(GROUP_COLUMNS)
    assert [row["filename"] for row in first] == [
        "sub-01/ses-A/anat/sub-01_ses-A_run-1_desc-harmonized_T1w.nii.gz",
        "sub-01/ses-A/anat/sub-01_ses-A_run-2_desc-harmonized_T1w.nii.gz",
        "sub-02/anat/sub-02_acq-mprage_desc-harmonized_T1w.nii.gz",
    ]
    assert first[0]["distance_after"] == "0.2"
    # No row in a scans table: what the sidecar knows, n/a for the rest.
    (second,) = rows(out / "group_T2w.tsv")
    assert second["harmonization_target"] == "GE"
    assert second["round_trip_max_error"] == "0.0000002"
    assert second["distance_before"] == "n/a"
    assert f"no measures in the scans table, such as {second['filename']}" in caplog.text


def test_every_column_is_explained(out: Path) -> None:
    for path in group_tables(out):
        dictionary = json.loads(path.with_suffix(".json").read_text())
        assert set(rows(path)[0]) == set(dictionary)
        assert all(entry["Description"] for entry in dictionary.values())


def test_participants(out: Path) -> None:
    (out / "sub-09/log").mkdir(parents=True)
    group_tables(out)
    assert rows(out / "participants.tsv") == [
        {"participant_id": "sub-01", "sessions": "A,B", "images": "3"},
        {"participant_id": "sub-02", "sessions": "n/a", "images": "1"},
        {"participant_id": "sub-09", "sessions": "n/a", "images": "0"},
    ]


@pytest.mark.parametrize("gone", ["sub-01", "sub-02", "sub-01/ses-A", "sub-01/ses-B"])
def test_any_subset(out: Path, gone: str) -> None:
    shutil.rmtree(out / gone)
    assert group_tables(out)
    assert Page(group_page(out)).text


def test_without_scans_tables(out: Path) -> None:
    for path in out.glob("sub-*/**/*_scans.*"):
        path.unlink()
    group_tables(out)
    assert len(rows(out / "group_T1w.tsv")) == 3
    assert Page(group_page(out)).text


def test_damaged_scans_table(out: Path) -> None:
    next(out.glob("sub-02/*_scans.tsv")).write_text("nonsense")
    group_tables(out)
    assert rows(out / "group_T1w.tsv")[2]["seconds"] == "n/a"


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "sub-01/anat").mkdir(parents=True)
    for function in (group_tables, group_page):
        with pytest.raises(NothingSelected, match="run the participant level"):
            function(tmp_path)
    assert not list(tmp_path.glob("group*"))


def test_page(out: Path) -> None:
    build_participant_report(out, "01")
    page = Page(group_page(out))
    assert "4 harmonized images of 2 participants" in page.text
    assert EVIL in page.text
    assert [values for tag, values in page.attributes if tag == "script"] == [{}]
    assert "Not closer to the target after harmonization" in page.text
    links = [target for target in page.all("a", "href") if not target.startswith("#")]
    assert "sub-01.html#sub-01_ses-A_run-1_T1w" in links
    assert not any("sub-02" in link for link in links)  # that page is not there
    assert page.all("img", "src") == page.all("link", "href") == []


def test_plot_is_well_formed(out: Path) -> None:
    text = group_page(out).read_text()
    start, end = text.index("<svg"), text.index("</svg>") + 6
    root = ET.fromstring(text[start:end])  # noqa: S314
    marks = root.findall(".//{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}title")
    assert len(marks) == 6  # three T1w images, before and after


def test_outliers_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for index in range(12):
        add_image(
            out,
            f"sub-{index:02d}/anat/sub-{index:02d}_T1w.nii.gz",
            measures={"mask_volume_ml": 1400 + 10 * index if index != 7 else 300},
        )
    (found,) = find_outliers(find_harmonized_images(out))
    assert (found.image.subject, found.measure) == ("07", "mask_volume_ml")
    assert found.robust_z < -3.5
    text = Page(group_page(out)).text
    assert "sub-07_T1w Mask volume 300" in text


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight people who were scanned by three vendors."""
    return make_study(tmp_path_factory.mktemp("study"), people=8)


class TestStudy:
    """Scanners that differ before and no longer after."""

    def test_scanners_are_told_apart_before_only(self, study: Path) -> None:
        found = scanner_separation(load_group(study, find_harmonized_images(study)))
        assert found is not None
        assert found.before.accuracy == 1
        assert found.after.accuracy < 0.7
        assert found.before.chance == pytest.approx(1 / 3)
        assert (found.images, found.participants) == (24, 8)

    def test_variance_between_scanners(self, study: Path) -> None:
        (contrast, *_) = between_scanner_variance(load_group(study, find_harmonized_images(study)))
        assert contrast.measure == "contrast"
        assert contrast.before > 0.9 > 0.4 > contrast.after
        assert contrast.chance == pytest.approx(2 / 23)

    def test_page_shows_it(self, study: Path) -> None:
        page = Page(group_page(study))
        assert "before 100 % 33 %" in page.text
        assert page.text.count("Siemens Prisma 3T (8)") == 1
        plots = [v["aria-labelledby"] for tag, v in page.attributes if tag == "svg"]
        assert len(plots) == len(set(plots)) == 3

    def test_values_are_those_of_the_table(self, study: Path) -> None:
        group_tables(study)
        table = {row["filename"]: row for row in rows(study / "group_T1w.tsv")}
        columns = [
            v["data-column"] for _, v in Page(group_page(study)).attributes if "data-column" in v
        ]
        numbers = sum(is_numeric(value) for row in table.values() for value in row.values())
        assert len(columns) == numbers
        assert set(columns) <= set(GROUP_COLUMNS)

    def test_same_files_give_the_same_page(self, study: Path) -> None:
        assert group_page(study).read_bytes() == group_page(study).read_bytes()

    def test_damaged_evidence_is_left_out(self, study: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(study, tmp_path / "copy")
        first, second, third, *_ = sorted(copy.glob("sub-*/figures/*_desc-evidence_*.json"))
        first.unlink()
        second.write_text("{")
        third.write_text('{"Densities": {}, "Statistics": {"before": [1, 2], "after": [1, 2]}}')
        known, data = stack_embeddings(load_group(copy, find_harmonized_images(copy)))
        assert len(known) == data.shape[1] == 21
        assert Page(group_page(copy)).text

    def test_many_images_take_little_time(self, tmp_path: Path) -> None:
        """A thousand in a minute: a part of them in its part of it, most of which is reserve."""
        study = make_study(tmp_path, people=50)
        start = time.perf_counter()
        group_tables(study)
        group_page(study)
        assert time.perf_counter() - start < 60 * 150 / 1000 + 5


def test_one_scanner_is_not_told_apart(out: Path) -> None:
    assert scanner_separation(load_group(out, find_harmonized_images(out))) is None
    assert "was not attempted" in Page(group_page(out)).text


def test_scanner_is_named_by_what_is_known(out: Path) -> None:
    image = find_harmonized_images(out, "02")[0]
    assert scanner_name(image) == "Prisma 3T"


class TestAxes:
    def test_same_images_same_picture(self) -> None:
        data = np.random.default_rng(0).normal(size=(2, 20, 40))
        placed, share = principal_components(data)
        again, _ = principal_components(data)
        np.testing.assert_array_equal(placed, again)
        assert placed.shape == (2, 20, 30)
        assert (np.diff(share) <= 1e-12).all()

    def test_nothing_varies(self) -> None:
        placed, _ = principal_components(np.ones((2, 4, 3)))
        assert (placed == 0).all()


class TestRobustScores:
    def test_known_values(self) -> None:
        # Median 3, absolute deviations 2 1 0 1 97, so MAD 1.
        assert robust_z_scores([1, 2, 3, 4, 100]) == pytest.approx(
            [-1.349, -0.6745, 0, 0.6745, 65.4265]
        )

    def test_equal_values(self) -> None:
        assert robust_z_scores([5.0] * 6 + [9.0]) == [0.0] * 7
        assert robust_z_scores([]) == []

    @given(
        st.lists(st.integers(-1000, 1000), min_size=3, max_size=30),
        st.integers(1, 9),
        st.integers(-99, 99),
    )
    def test_unit_and_origin_do_not_matter(
        self, values: list[int], unit: int, origin: int
    ) -> None:
        moved = robust_z_scores([unit * value + origin for value in values])
        assert moved == pytest.approx(robust_z_scores(values))


def test_images_stand_with_what_they_were_harmonized_as(out: Path) -> None:
    add_image(out, "sub-02/anat/sub-02_FLAIR.nii.gz", HarmonizationModality="FLAIR")
    add_image(out, "sub-02/anat/sub-02_T2w.nii.gz", HarmonizationModality="FLAIR")
    group_tables(out)
    assert [Path(row["filename"]).name for row in rows(out / "group_FLAIR.tsv")] == [
        "sub-02_desc-harmonized_FLAIR.nii.gz",
        "sub-02_desc-harmonized_T2w.nii.gz",
    ]
    text = Page(group_page(out)).text
    assert "Named T2w, but harmonized as FLAIR by its contrast." in text
