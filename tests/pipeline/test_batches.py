"""Participants some at a time: begun at once, planned ahead, never held as a whole."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bids_ihf.bids import discovery
from bids_ihf.bids.images import SourceImage
from bids_ihf.config import RunConfig
from bids_ihf.errors import BadData, NothingSelected, UsageError
from bids_ihf.pipeline import image_search
from bids_ihf.pipeline.batches import MIN_BATCH_PARTICIPANTS, Batch, ahead, planned_batches
from tests.cli.conftest import TARGET
from tests.datasets import write_image

PARTICIPANTS = 120


@pytest.fixture
def labels(tmp_path: Path) -> list[str]:
    """Many participants with a T1w image; links, as in a DataLad dataset."""
    write_image(tmp_path / "content.nii.gz")
    numbers = [f"{number:04}" for number in range(PARTICIPANTS)]
    for label in numbers:
        folder = tmp_path / f"bids/sub-{label}/anat"
        folder.mkdir(parents=True)
        (folder / f"sub-{label}_T1w.nii.gz").symlink_to(tmp_path / "content.nii.gz")
    return numbers


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Participants in the order in which they are searched."""
    subjects: list[str] = []

    def find(root: Path, subject: str, **options: object) -> list[SourceImage]:
        subjects.append(subject)
        return discovery.find_images(root, subject, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(image_search, "find_images", find)
    return subjects


def batches(tmp_path: Path, labels: list[str], **settings: object) -> Iterator[Batch]:
    options = {"skip_bids_validation": True, "n_procs": 2, "target": "Siemens", **settings}
    config = RunConfig(tmp_path / "bids", tmp_path / "out", **options)  # type: ignore[arg-type]
    return planned_batches(config, labels, lambda _config: TARGET)[1]


def test_every_participant_once_and_in_order(tmp_path: Path, labels: list[str]) -> None:
    planned = list(batches(tmp_path, labels))
    assert [job.image.subject for batch in planned for job in batch.jobs] == labels
    assert sum(batch.participants for batch in planned) == PARTICIPANTS


def test_the_first_are_begun_before_the_others_are_looked_at(
    tmp_path: Path, labels: list[str], searched: list[str]
) -> None:
    first = next(batches(tmp_path, labels))
    assert [job.image.subject for job in first.jobs] == labels[:2]
    assert len(searched) <= 2 + 2 * MIN_BATCH_PARTICIPANTS


def test_no_more_images_are_held_with_more_participants(tmp_path: Path, labels: list[str]) -> None:
    def images_held() -> int:
        gc.collect()
        return sum(type(item) is SourceImage for item in gc.get_objects())

    before = images_held()
    held = [images_held() - before for _ in batches(tmp_path, labels)]
    assert len(held) > 6
    assert max(held) <= 4 * MIN_BATCH_PARTICIPANTS < PARTICIPANTS


def test_the_next_item_is_made_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    following = ahead(items())
    assert made[0].wait(5)  # before anyone asks
    assert next(following) == 0
    assert made[1].wait(5)
    assert list(following) == [1, 2]


def test_an_error_in_the_thread_is_raised_where_the_items_are_used() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise UsageError("no")

    following = ahead(items())
    assert next(following) == 1
    with pytest.raises(UsageError, match="no"):
        next(following)


def test_a_selection_that_only_later_participants_have(tmp_path: Path, labels: list[str]) -> None:
    write_image(tmp_path / f"bids/sub-{labels[-1]}/ses-B/anat/sub-{labels[-1]}_ses-B_T1w.nii.gz")
    planned = list(batches(tmp_path, labels, session_label=("B",)))
    assert [job.image.subject for batch in planned for job in batch.jobs] == [labels[-1]]
    assert sum(batch.participants for batch in planned) == PARTICIPANTS, "none is left over"
    with pytest.raises(NothingSelected, match="119 T1w"):
        batches(tmp_path, [*labels[:-1], "absent"], session_label=("B",))


def test_masks_are_missed_only_where_nobody_has_one(tmp_path: Path, labels: list[str]) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    settings = {"derivatives": (masks,), "brain_mask": "derivatives"}
    with pytest.raises(BadData, match="no brain mask for 120 of 120 images"):
        batches(tmp_path, labels, **settings)
    write_image(masks / f"sub-{labels[-1]}/anat/sub-{labels[-1]}_T1w_bet_mask.nii.gz")
    assert sum(len(batch.jobs) for batch in batches(tmp_path, labels, **settings)) == PARTICIPANTS


def test_the_dataset_is_judged_before_the_target(tmp_path: Path, labels: list[str]) -> None:
    def refuse(_config: RunConfig) -> None:
        raise BadData("no target.")

    config = RunConfig(tmp_path / "bids", tmp_path / "out", session_label=("Z",), target="x")
    with pytest.raises(NothingSelected):
        planned_batches(config, labels, refuse)  # type: ignore[arg-type]
