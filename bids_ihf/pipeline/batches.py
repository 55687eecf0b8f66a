"""The participants of a run, some at a time: the next are planned while the first are at work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import chain, islice
from typing import TypeVar

from attrs import frozen

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.validation import find_validator, validate_input
from bids_ihf.config import RunConfig
from bids_ihf.errors import BadData, NothingSelected
from bids_ihf.pipeline.image_search import ImageSearch, mask_message, warn_of_missing_masks
from bids_ihf.pipeline.job import Job, ResolvedTarget
from bids_ihf.pipeline.plan import plan
from bids_ihf.pipeline.run_log import HeldRecords, holding_records

Item = TypeVar("Item")

MIN_BATCH_PARTICIPANTS = 16
"""Participants of a graph at least; it bounds the intermediate files that lie on disk at once."""


@frozen
class FoundBatch:
    """Images of some participants, and what was logged while they were found."""

    participants: int
    images: Sequence[SourceImage]
    records: HeldRecords


@frozen
class Batch:
    """Jobs of some participants.

    Attributes
    ----------
    participants
        Their number, those without an image too.
    jobs
        Their images, and what is to be done with each.
    records
        What was logged while they were found and planned, for the participants' logs.
    """

    participants: int
    jobs: Sequence[Job]
    records: HeldRecords


def planned_batches(
    config: RunConfig, subjects: Sequence[str], resolve: Callable[[RunConfig], ResolvedTarget]
) -> tuple[ResolvedTarget, Iterator[Batch]]:
    """The target of a run, and the jobs of its participants, some at a time.

    The dataset is never held as a whole: while one batch is at work, a thread finds, validates and
    plans the next.  The target is resolved while the first participants are found.

    Raises
    ------
    NothingSelected
        No participant has an image of the selected modalities.
    InvalidBIDS
        A file of the root that describes the dataset has an error.
    BadData
        Masks in derivatives are needed, and there is none; or the target cannot be used.
    """
    found = ahead(_found_batches(config, subjects))
    try:
        target = resolve(config)
    finally:  # what is wrong with the dataset comes before what is wrong with the target
        first = list(islice(found, 1))

    def planned(batch: FoundBatch) -> Batch:
        with holding_records(batch.records):
            return Batch(batch.participants, plan(batch.images, config, target), batch.records)

    return target, ahead(map(planned, chain(first, found)))


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items of an iterator; the next one is made in a thread meanwhile.

    The thread ends with the program, whatever it does, and begins at once, not when the first item
    is asked for.
    """
    return _following(_next_in_thread(items), items)


def _following(item: Future[list[Item]], items: Iterator[Item]) -> Iterator[Item]:
    while value := item.result():
        item = _next_in_thread(items)
        yield from value


def _next_in_thread(items: Iterator[Item]) -> Future[list[Item]]:
    """The next item in a list, which is empty at the end."""
    future: Future[list[Item]] = Future()

    def make() -> None:
        try:
            future.set_result(list(islice(items, 1)))
        except BaseException as error:  # noqa: BLE001 - raised where the item is used
            future.set_exception(error)

    threading.Thread(target=make, daemon=True).start()
    return future


def _found_batches(config: RunConfig, subjects: Sequence[str]) -> Iterator[FoundBatch]:
    """Images of all participants, validated; the first batch with an image begins."""
    search = ImageSearch.of(config)
    validating, begun, counted = not config.skip_bids_validation, False, 0
    for start, end in _batch_limits(len(subjects), config.n_procs):
        with holding_records([]) as records:
            images = search.find(subjects[start:end])
            selected = [image for image in images if image.suffix in config.modalities]
            if validating and selected:
                images = validate_input(config.bids_dir, images)
                # A validator that is missing is told of once.
                validating = find_validator() is not None
            if not begun and selected:
                _require_a_mask(selected, subjects[end:], search)
            warn_of_missing_masks(selected, config)
        if selected or begun:
            begun = True
            yield FoundBatch(end - counted, images, records)
            counted = end
    if not begun:
        raise NothingSelected(search.nothing_selected(subjects))


def _batch_limits(participants: int, n_procs: int) -> Iterator[tuple[int, int]]:
    """First and last participant of each batch; of many the first batch is small, to begin soon.

    >>> list(_batch_limits(40, 2))
    [(0, 2), (2, 18), (18, 34), (34, 40)]
    >>> list(_batch_limits(16, 2))
    [(0, 16)]
    """
    size = max(MIN_BATCH_PARTICIPANTS, 4 * n_procs)
    first = n_procs if participants > size else participants
    starts = [0, *range(first, participants, size)]
    yield from zip(starts, [*starts[1:], participants], strict=True)


def _require_a_mask(
    images: Sequence[SourceImage], later_subjects: Sequence[str], search: ImageSearch
) -> None:
    """Raise BadData where all images need masks of derivatives and none of the dataset has one."""
    config = search.config
    if config.brain_mask != "derivatives" or any(image.mask for image in images):
        return
    count = len(images)
    for subject in later_subjects:
        with holding_records([]):
            later = search.find([subject])
        selected = [image for image in later if image.suffix in config.modalities]
        if any(image.mask for image in selected):
            return
        count += len(selected)
    message = mask_message(config, count, count, images[0])
    raise BadData(f"{message}; check folder and names, or use --brain-mask auto.")
