"""What a run prints and logs: a dry run's list, failures, the closing summary, the exit code."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from bids_ihf.bids.contrast import contrast_by_sidecar, misnamed_text
from bids_ihf.bids.harmonized_images import find_harmonized_images
from bids_ihf.bids.scanners import UNKNOWN_VENDOR
from bids_ihf.config import RunConfig
from bids_ihf.errors import BadData, CannotWrite, InvalidBIDS, TemporaryFailure
from bids_ihf.pipeline.job import DONE_ACTION, HARMONIZE_ACTION, Job, ResolvedTarget
from bids_ihf.pipeline.participants import Result
from bids_ihf.pipeline.run_log import NOTICE_LEVEL, RunLog, subject_context
from bids_ihf.qc.flags import harmonization_warning, qc_flags

LOGGER = logging.getLogger(__name__)

SOME_FAILED_CODE = 1
COMMON_CODES = frozenset(
    error.exit_code for error in (InvalidBIDS, BadData, CannotWrite, TemporaryFailure)
)
"""Exit codes that the whole run takes over when every image failed for that one reason."""
VENDOR_UNKNOWN_TEXT = (
    "%s%s: the sidecar names no known Manufacturer, so the source vendor is unknown; the image is "
    "harmonized all the same; name the vendor with --source-vendor."
)


def list_jobs(jobs: Sequence[Job], target: ResolvedTarget, bids_dir: Path, out: TextIO) -> None:
    """One line for each image, tab-separated: file, vendor, target, what would be done.

    They are flushed, so that a reader gets them as they are known.
    """
    for job in jobs:
        file = job.image.path.relative_to(bids_dir).as_posix()
        action = f"fail: {job.image.problem.message}" if job.image.problem else job.action
        if action == HARMONIZE_ACTION and job.image.modality != job.image.suffix:
            action += f" as {job.image.modality}"
        out.write(f"{file}\t{job.image.vendor}\t{target.name}\t{action}\n")
    out.flush()


def announce(jobs: Sequence[Job], target: ResolvedTarget) -> None:
    """Log what will be done: counts on the terminal, image by image in the subjects' logs."""
    counts = Counter(job.action for job in jobs)
    text = ", ".join(f"{count} {action}" for action, count in sorted(counts.items()))
    LOGGER.log(NOTICE_LEVEL, "Target %s: %s", target.name, text)
    todo = [job for job in jobs if job.action == HARMONIZE_ACTION]
    unknown = [job for job in todo if job.image.vendor == UNKNOWN_VENDOR]
    if unknown:
        rest = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        LOGGER.warning(VENDOR_UNKNOWN_TEXT, unknown[0].image.path.name, rest)
    for job in jobs:
        image = job.image
        with subject_context(image.subject):
            vendor = f", source vendor {image.vendor}" if job.action == HARMONIZE_ACTION else ""
            modality, reason = contrast_by_sidecar(image.suffix, image.metadata)
            if reason and job.action != DONE_ACTION:
                LOGGER.warning("%s", misnamed_text(job.name, image.suffix, modality, reason))
            # What is passed over stands in the report, among the warnings.
            is_passed_over = job.action not in (HARMONIZE_ACTION, DONE_ACTION)
            level = logging.WARNING if is_passed_over else logging.INFO
            LOGGER.log(level, "%s: %s%s", job.name, job.action, vendor)


def log_failures(results: Sequence[Result]) -> None:
    """One line for each failed image: the sentence and the crash file."""
    for result in results:
        if result.harmonized:
            continue
        with subject_context(result.job.image.subject):
            if result.failure is None:
                LOGGER.error("%s: not run, the run was stopped before", result.job.name)
            else:
                crash_file = f" [{result.crash_file}]" if result.crash_file else ""
                LOGGER.error("%s: %s%s", result.job.name, result.failure.message, crash_file)


def log_flagged(results: Sequence[Result], config: RunConfig) -> None:
    """Name the images of this run that quality control flags, and the page to look at."""
    jobs = [result.job for result in results if result.harmonized]
    sidecars = {job.sidecar for job in jobs}
    for subject in dict.fromkeys(job.image.subject for job in jobs):
        flagged = [
            image.full_name
            for image in find_harmonized_images(config.out_dir, subject)
            if image.sidecar_path in sidecars and (harmonization_warning(image) or qc_flags(image))
        ]
        if flagged:
            page = config.out_dir / f"sub-{subject}.html"
            with subject_context(subject):
                # No warning of the run: a page that is rebuilt would repeat itself.
                LOGGER.log(NOTICE_LEVEL, "Inspect %s: %s", ", ".join(flagged), page)


class Tally:
    """Counts what became of the images of a run; the images themselves are not kept."""

    def __init__(self) -> None:
        self.harmonized = self.failed = self.done = self.skipped = 0
        self.codes: Counter[int] = Counter()
        self.failed_subjects: list[str] = []

    def add(self, jobs: Sequence[Job], results: Sequence[Result]) -> None:
        """Count the images of some participants."""
        failed = [result for result in results if not result.harmonized]
        self.harmonized += len(results) - len(failed)
        self.failed += len(failed)
        self.done += sum(job.action == DONE_ACTION for job in jobs)
        self.skipped += sum(job.action not in (DONE_ACTION, HARMONIZE_ACTION) for job in jobs)
        self.codes.update(
            result.failure.exit_code if result.failure else SOME_FAILED_CODE for result in failed
        )
        self.failed_subjects += dict.fromkeys(result.job.image.subject for result in failed)

    def exit_code(self) -> int:
        """0 if nothing failed; the common reason's code if all failed for it; else 1."""
        return common_exit_code([*self.codes.elements()], self.harmonized + self.failed)


def close(tally: Tally, config: RunConfig, participants_left: int = 0) -> None:
    """The closing lines: counts and paths."""
    if participants_left:
        LOGGER.warning(
            "The run stopped at the first failure; %d participants are left.", participants_left
        )
    LOGGER.log(
        NOTICE_LEVEL,
        "%d harmonized, %d already done, %d failed, %d not processed. Results: %s",
        *(tally.harmonized, tally.done, tally.failed, tally.skipped),
        config.out_dir,
    )
    for subject in tally.failed_subjects:
        folder = RunLog.of(config).folder(subject)
        LOGGER.error("Log and crash files of sub-%s: %s", subject, folder)


def common_exit_code(codes: Sequence[int], images: int) -> int:
    """Exit code of a run of so many images, from the codes of those that failed."""
    if not codes:
        return 0
    if len(codes) == images and len(set(codes)) == 1 and COMMON_CODES.issuperset(codes):
        return codes[0]
    return SOME_FAILED_CODE
