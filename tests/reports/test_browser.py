"""The pages in a real browser: nothing missing, no complaint, the numbers of the table."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bids_ihf.io.failures import write_failure
from bids_ihf.reports.group_page import group_page
from bids_ihf.reports.group_tables import group_tables
from bids_ihf.reports.participant import build_participant_report
from tests.reports.browser import Browser, find_chromium
from tests.reports.conftest import CRASH, TRACEBACK, make_study

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

WIDTHS = (1440, 1024)
PAGES = ("sub-01.html", "sub-02.html", "group.html")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of two people, one of them with a failure."""
    out = make_study(tmp_path_factory.mktemp("seen"), people=2, figures=True)
    log = out / "sub-02/log/20260101-000000_x"
    log.mkdir(parents=True)
    write_failure(log, "1", CRASH, TRACEBACK)
    for subject in ("01", "02"):
        build_participant_report(out, subject)
    group_tables(out)
    group_page(out)
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(str(CHROMIUM), tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_missing(browser: Browser, study: Path, page: str, width: int) -> None:
    browser.open(study / page, width=width)
    assert browser.broken() == []
    assert browser.run("document.images.length > 0 || document.querySelectorAll('svg').length > 0")
    assert browser.complaints() == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("Array.from(document.images).every(one => one.alt)")


def table(path: Path) -> dict[str, dict[str, str]]:
    """Rows of a table by the name of the source."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {
        row["filename"].split("/")[-1].split(".")[0].replace("_desc-harmonized", ""): row
        for row in rows
    }


def test_numbers_of_the_group(browser: Browser, study: Path) -> None:
    browser.open(study / "group.html", width=WIDTHS[0])
    rows = table(study / "group_T1w.tsv")
    found = browser.numbers()
    assert len(found) > 100
    for name, column, words in found:
        assert rows[name][column] == words


def test_numbers_of_a_participant(browser: Browser, study: Path) -> None:
    browser.open(study / "sub-01.html", width=WIDTHS[0])
    rows = table(study / "group_T1w.tsv")
    found = browser.numbers()
    assert {name for name, _, _ in found} == {name for name in rows if name.startswith("sub-01")}
    for name, column, words in found:
        assert float(words) == pytest.approx(float(rows[name][column]), rel=1e-3)


def test_links_lead_to_images(browser: Browser, study: Path) -> None:
    browser.open(study / "group.html", width=WIDTHS[0])
    links = browser.run(
        "Array.from(document.querySelectorAll('table.sortable a'),"
        " one => one.getAttribute('href'))"
    )
    assert len(links) == 6
    for link in links:
        page, _, place = link.partition("#")
        browser.open(study / page, width=WIDTHS[0])
        assert browser.run(f"document.getElementById('{place}') !== null")


def test_click_sorts(browser: Browser, study: Path) -> None:
    browser.open(study / "group.html", width=WIDTHS[0])
    column = (
        "(() => { const table = document.querySelector('table.sortable');"
        " const head = Array.from(table.tHead.rows[0].cells)"
        " .find(one => one.textContent === 'Distance after');"
        " head.firstElementChild.click();"
        " return Array.from(table.tBodies[0].rows, row => +row.cells[head.cellIndex].textContent);"
        " })()"
    )
    rising, falling = browser.run(column), browser.run(column)
    assert rising == sorted(rising)
    assert falling == rising[::-1]
    assert rising[0] < rising[-1]


def test_flicker_turns_and_stops(browser: Browser, study: Path) -> None:
    browser.open(study / "sub-01.html", width=WIDTHS[0])
    shown = (
        "Array.from(document.querySelector('figure.flicker').querySelectorAll('img'))"
        " .filter(one => getComputedStyle(one).display !== 'none').map(one => one.className)"
    )
    assert browser.run(shown) == ["alternating"]
    browser.run("document.querySelector('figure.flicker input.after').click()")
    assert browser.run(shown) == ["after"]
    browser.run("document.querySelector('figure.flicker').scrollIntoView()")
    first = browser.picture()
    time.sleep(1.1)
    assert browser.picture() == first
