"""One run of ``ihf-harmony``: find, validate, plan and harmonize some participants at a time."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bids_ihf.bids.dataset_files import initialize_output
from bids_ihf.bids.discovery import require_sessions, select_subjects
from bids_ihf.bids.source_dataset import require_same_dataset
from bids_ihf.cli import summary
from bids_ihf.cli.progress import Progress
from bids_ihf.config import RunConfig
from bids_ihf.errors import OUT_OF_MEMORY_MESSAGE, HarmonyError, NothingSelected
from bids_ihf.io.atomic import remove_stale_temporaries, write_atomic
from bids_ihf.pipeline.batches import Batch, planned_batches
from bids_ihf.pipeline.engine import read_plugin
from bids_ihf.pipeline.harmonization import choose_device
from bids_ihf.pipeline.job import HARMONIZE_ACTION, Job, ResolvedTarget
from bids_ihf.pipeline.participants import ProgressStep, run_participants
from bids_ihf.pipeline.process import limit_threads
from bids_ihf.pipeline.resources import announce_device, describe_run, resolve_target
from bids_ihf.pipeline.run_log import (
    NOTICE_LEVEL,
    RunLog,
    log_to_subjects,
    subject_context,
)

LOGGER = logging.getLogger(__name__)


def run(config: RunConfig) -> int:
    """Do what the settings ask for, and return the exit code.

    Raises
    ------
    HarmonyError
        The run as a whole is not possible.
    """
    if config.analysis_level == "group":
        run_group(config.out_dir)
        return 0
    if config.reports_only:
        if not config.out_dir.is_dir():
            raise NothingSelected(
                f"{config.out_dir}: no such folder; run the participant level into it first."
            )
        subjects = select_subjects(config.out_dir, config.participant_label)
        return 0 if build_reports(subjects, config) else 1
    return run_participant_level(config)


def run_group(out_dir: Path) -> None:
    """Write ``group_<modality>.tsv`` with dictionaries and ``group.html``.

    Raises
    ------
    NothingSelected
        No participant has been harmonized there yet.
    """
    if next(out_dir.glob("sub-*/**/*_scans.tsv"), None) is None:
        raise NothingSelected(
            f"{out_dir}: no table sub-*/**/*_scans.tsv of a participant run is there; "
            "run the participant level into this folder first."
        )
    from bids_ihf.reports.group_page import group_page
    from bids_ihf.reports.group_tables import group_tables

    group_tables(out_dir)
    group_page(out_dir)
    LOGGER.log(NOTICE_LEVEL, "Group tables and page: %s", out_dir / "group.html")


def run_participant_level(config: RunConfig) -> int:
    """Harmonize the selected images, or list them with ``--dry-run``."""
    if config.use_plugin is not None:
        read_plugin(config.use_plugin)
    if config.bids_database_dir is not None:
        LOGGER.log(NOTICE_LEVEL, "--bids-database-dir is not used: the dataset is listed anew.")
    subjects = select_subjects(config.bids_dir, config.participant_label)
    require_sessions(config.bids_dir, config.session_label)
    allow_other = config.allow_other_dataset
    require_same_dataset(config.out_dir, config.bids_dir, allow_other=allow_other)
    limit_threads(1)
    target, batches = planned_batches(config, subjects, resolve_target)
    if config.dry_run:
        return list_only(batches, config, target)
    return harmonize(batches, config, target, len(subjects))


def list_only(batches: Iterable[Batch], config: RunConfig, target: ResolvedTarget) -> int:
    """List the images as they are found, and say at once what is wrong with one."""
    codes: list[int] = []
    images = 0
    for batch in batches:
        summary.list_jobs(batch.jobs, target, config.bids_dir, sys.stdout)
        problems = [job.image.problem for job in batch.jobs if job.image.problem]
        for message in dict.fromkeys(problem.message for problem in problems):
            LOGGER.error("%s", message)
        codes += [problem.error.exit_code for problem in problems]
        images += len(batch.jobs)
    return summary.common_exit_code(codes, images)


def harmonize(
    batches: Iterable[Batch], config: RunConfig, target: ResolvedTarget, participants: int
) -> int:
    """Run the jobs of all participants, report on their images, and log what became of them."""
    device = choose_device(config.device)
    if config.device == "auto":
        announce_device(device)
    initialize_output(config.out_dir, config.bids_dir)
    remove_stale_temporaries(config.out_dir)
    tally, reported = summary.Tally(), True
    with Progress(participants) as progress:
        for batch in batches:
            progress.expect(batch)
            reported &= harmonize_batch(batch, config, target, device, progress, tally)
            if config.stop_on_first_crash and tally.failed:
                break
    summary.close(tally, config, participants_left=progress.participants_left)
    return tally.exit_code() or (0 if reported else 1)


def harmonize_batch(
    batch: Batch,
    config: RunConfig,
    target: ResolvedTarget,
    device: str,
    progress: Progress,
    tally: summary.Tally,
) -> bool:
    """Run the jobs of some participants; False if a page could not be built."""
    todo = [job for job in batch.jobs if job.action == HARMONIZE_ACTION]
    remove_stale_files(config.out_dir, {job.image.subject for job in todo})
    start_subject_logs(batch, config, target)
    summary.announce(batch.jobs, target)
    pages = ParticipantPages(todo, config)

    def on_progress(job: Job, step: ProgressStep) -> None:
        progress.step(job, step)
        pages.step(job, step)

    results = run_participants(todo, config, target, device, on_progress) if todo else []
    summary.log_failures(results)
    marks = [(job, job.sidecar) for job in batch.jobs if job.finished]
    marks += [(result.job, result.crash_file) for result in results if result.crash_file]
    outdated = {job.image.subject for job, mark in marks if page_is_older(job, mark, config)}
    reported = build_reports(outdated | pages.pending, config) and pages.all_built
    summary.log_flagged(results, config)
    tally.add(batch.jobs, results)
    return reported


class ParticipantPages:
    """Builds the page of each participant as its last image ends, so that none waits for all."""

    def __init__(self, jobs: Iterable[Job], config: RunConfig) -> None:
        self._config = config
        self._images_left = Counter(job.image.subject for job in jobs)
        self.all_built = True

    @property
    def pending(self) -> set[str]:
        """Participants with images that have not ended."""
        return {subject for subject, count in self._images_left.items() if count > 0}

    def step(self, job: Job, step: ProgressStep) -> None:
        """Take note of what became of an image."""
        if step in ("end", "exception"):
            subject = job.image.subject
            self._images_left[subject] -= 1
            if self._images_left[subject] == 0:
                self.all_built &= build_reports([subject], self._config)


def page_is_older(job: Job, mark: Path, config: RunConfig) -> bool:
    """Whether the page of a participant is missing or older than a sidecar or crash file.

    A run that was stopped has left finished images behind without a page, and batch systems
    report a failure when the page may be built already.
    """
    page = config.out_dir / f"sub-{job.image.subject}.html"
    return mark.exists() and not (page.is_file() and page.stat().st_mtime >= mark.stat().st_mtime)


def remove_stale_files(out_dir: Path, subjects: Iterable[str]) -> None:
    """Remove what killed runs left half-written in these subjects' folders."""
    for subject in subjects:
        top = out_dir / f"sub-{subject}"
        for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
            remove_stale_temporaries(folder)


def start_subject_logs(batch: Batch, config: RunConfig, target: ResolvedTarget) -> None:
    """Give every subject of a batch a log file and a copy of the settings of this run."""
    run_log = RunLog.of(config)
    subjects = list(dict.fromkeys(job.image.subject for job in batch.jobs))
    content = describe_run(config, target).encode(errors="replace")
    for subject in subjects:
        write_atomic(run_log.folder(subject) / "ihf_harmony.toml", content)
    log_to_subjects(run_log, subjects, batch.records)


def build_reports(subjects: Iterable[str], config: RunConfig) -> bool:
    """Build a page for each participant; False if one could not be built."""
    from bids_ihf.reports.participant import build_participant_report

    built = True
    for subject in sorted(subjects):
        with subject_context(subject):
            try:
                build_participant_report(config.out_dir, subject)
            except HarmonyError as error:
                LOGGER.error("sub-%s: no report: %s", subject, error)
                built = False
            except MemoryError:
                LOGGER.error(
                    "sub-%s: no report: %s", subject, OUT_OF_MEMORY_MESSAGE.format("MemoryError")
                )
                built = False
            except Exception:
                # The images are done; a failure of the report must not hide that.
                LOGGER.exception("sub-%s: the report could not be built", subject)
                built = False
            else:
                page = config.out_dir / f"sub-{subject}.html"
                LOGGER.log(NOTICE_LEVEL, "Report: %s", page)
    return built
