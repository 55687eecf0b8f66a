"""What a run says: the list of a dry run, failures, the closing summary, the exit code."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, TextIO

from bids_ihf.bids.vendors import UNKNOWN_VENDOR
from bids_ihf.errors import BadData, CannotWrite, TemporaryFailure
from bids_ihf.pipeline.plan import DONE, HARMONIZE, Goal, Task
from bids_ihf.pipeline.run_log import NOTICE, about

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_ihf.config import RunConfig
    from bids_ihf.pipeline.participants import Outcome
    from bids_ihf.pipeline.worker import Settings

LOGGER = logging.getLogger(__name__)

SOME_FAILED = 1
SHARED = frozenset({BadData.exit_code, CannotWrite.exit_code, TemporaryFailure.exit_code})
"""Codes that the whole run takes over when every image failed for that one reason."""
NO_VENDOR = (
    "%s%s: the sidecar names no known Manufacturer, so the source vendor is unknown; it is "
    "harmonized all the same, name the vendor with --source-vendor."
)


def list_tasks(tasks: Sequence[Task], goal: Goal, bids_dir: Path, stream: TextIO) -> None:
    """One line for each image, tab-separated: file, vendor, target, what would be done."""
    for task in tasks:
        file = task.image.path.relative_to(bids_dir).as_posix()
        stream.write(f"{file}\t{task.image.vendor}\t{goal.name}\t{task.action}\n")


def announce(tasks: Sequence[Task], settings: Settings) -> None:
    """Say what will be done: all together on the terminal, image by image in the logs."""
    counts = Counter(task.action for task in tasks)
    what = ", ".join(f"{count} {action}" for action, count in sorted(counts.items()))
    LOGGER.log(NOTICE, "Target %s: %s", settings.goal.name, what)
    nameless = [task for task in tasks if task.action == HARMONIZE and _nameless(task)]
    if nameless:
        more = f" and {len(nameless) - 1} more" if len(nameless) > 1 else ""
        LOGGER.warning(NO_VENDOR, nameless[0].image.path.name, more)
    for task in tasks:
        with about(task.image.subject):
            vendor = f", source vendor {task.image.vendor}" if task.action == HARMONIZE else ""
            LOGGER.info("%s: %s%s", task.name, task.action, vendor)


def _nameless(task: Task) -> bool:
    return task.image.vendor == UNKNOWN_VENDOR


def tell_failures(outcome: Outcome) -> None:
    """One line for each failed image: the sentence and the crash file."""
    for task, failure in outcome.failed:
        with about(task.image.subject):
            if failure is None:
                LOGGER.error("%s: not run, the run was stopped before", task.name)
            else:
                LOGGER.error("%s: %s [%s]", task.name, failure.sentence, failure.crash_file)


def close(tasks: Sequence[Task], outcome: Outcome, config: RunConfig) -> None:
    """The closing lines: images to look at, counts and paths."""
    done = sum(task.action == DONE for task in tasks)
    left = sum(task.action not in (DONE, HARMONIZE) for task in tasks)
    _tell_doubtful(outcome, config)
    LOGGER.log(
        NOTICE,
        "%d harmonized, %d already done, %d failed, %d not processed. Results: %s",
        len(outcome.harmonized),
        done,
        len(outcome.failed),
        left,
        config.out_dir,
    )
    for subject in dict.fromkeys(task.image.subject for task, _ in outcome.failed):
        LOGGER.error("Log and crash files of sub-%s: %s", subject, config.log_dir(subject))


def _tell_doubtful(outcome: Outcome, config: RunConfig) -> None:
    """Name the images of this run that their measures make doubtful, and where to look."""
    from bids_ihf.bids.harmonized_images import find_harmonized_images
    from bids_ihf.qc.flags import harmonization_warning, qc_flags

    fresh = {task.sidecar for task in outcome.harmonized}
    for subject in dict.fromkeys(task.image.subject for task in outcome.harmonized):
        doubtful = [
            image
            for image in find_harmonized_images(config.out_dir, subject)
            if image.sidecar_path in fresh and (harmonization_warning(image) or qc_flags(image))
        ]
        if doubtful:
            page = config.out_dir / f"sub-{subject}.html"
            with about(subject):
                names = ", ".join(image.full_name for image in doubtful)
                # No warning of the run: a page that is rebuilt would repeat itself.
                LOGGER.log(NOTICE, "Look at %s: %s", names, page)


def exit_code(outcome: Outcome, todo: Sequence[Task]) -> int:
    """0 if nothing failed; the common reason's code if all failed for it; else 1."""
    if not outcome.failed:
        return 0
    codes = {failure.exit_code if failure else SOME_FAILED for _, failure in outcome.failed}
    if len(outcome.failed) == len(todo) and len(codes) == 1:
        code = codes.pop()
        return code if code in SHARED else SOME_FAILED
    return SOME_FAILED
