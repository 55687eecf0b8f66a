"""What is said of a run that goes on."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from bids_ihf.cli.progress import Progress
from bids_ihf.pipeline.batches import Batch
from bids_ihf.pipeline.job import DONE_ACTION, HARMONIZE_ACTION


def job(name: str) -> Any:
    return SimpleNamespace(name=name, action=HARMONIZE_ACTION)


def of_one_batch(images: int) -> Progress:
    progress = Progress(1)
    progress.expect(Batch(1, [job(str(number)) for number in range(images)], []))
    return progress


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(logging.getLogger("bids_ihf"), "propagate", True)
    caplog.set_level(logging.INFO, logger="bids_ihf")
    return lambda: [record.getMessage() for record in caplog.records]


def test_lines_for_a_log(lines: Any) -> None:
    with of_one_batch(2) as progress:
        progress.step(job("a"), "prepare")
        progress.step(job("a"), "harmonize")
        assert lines() == []  # the stages are in the log of the participant
        progress.step(job("a"), "end")
        progress.step(job("b"), "exception")
    first, second = lines()
    assert first.startswith("1/2 a: harmonized, about ")
    assert first.endswith(" left")
    assert second == "2/2 b: failed"


def test_bar_names_image_and_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with of_one_batch(3) as progress:
        progress.step(job("a"), "harmonize")
        progress.step(job("b"), "prepare")
        assert progress.at_work() == "b preparing and 1 more"
        progress.step(job("a"), "end")
        assert progress.at_work() == "b preparing"
    shown = capsys.readouterr().err
    assert "b preparing" in shown
    assert "1/3 images" in shown
    assert "left" in shown


@pytest.mark.parametrize(
    ("seconds", "words"), [(10.0, "about 30 s"), (60.0, "about 3 min"), (3600.0, "about 3.0 h")]
)
def test_time_left(seconds: float, words: str) -> None:
    progress = of_one_batch(4)
    assert progress.left(seconds) == ""
    progress.count = 1
    assert progress.left(seconds) == words
    progress.count = 4
    assert progress.left(seconds) == ""


def test_prepared_images_count_in_part() -> None:
    """Four images, three of them prepared, of which one is through: half of the work."""
    progress = of_one_batch(4)
    for name in ("0", "1", "2"):
        progress.step(job(name), "prepare")
        progress.step(job(name), "prepared")
    assert progress.left(100.0) == ""
    progress.step(job("0"), "harmonize")
    progress.step(job("0"), "end")
    assert progress.left(40.0) == "about 40 s"


def test_images_of_participants_not_yet_looked_at_are_estimated(lines: Any) -> None:
    done: Any = SimpleNamespace(name="c", action=DONE_ACTION)
    with Progress(30) as progress:
        progress.expect(Batch(10, [job("a"), job("b"), done], []))
        assert (progress.total, progress.participants_left) == (6, 20)
        progress.step(job("a"), "end")
        progress.expect(Batch(20, [job("d")], []))
        assert (progress.total, progress.participants_left) == (3, 0)
        progress.step(job("b"), "end")
    first, second = lines()
    assert first.startswith("1/about 6 a: harmonized, about ")
    assert second.startswith("2/3 b: harmonized, about ")
