"""One run of ``ihf-harmony``: validate, discover, plan, harmonize, report, exit code."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from typing import TYPE_CHECKING

from bids_ihf.bids.dataset_files import initialize_output
from bids_ihf.bids.discovery import select_subjects
from bids_ihf.bids.source_dataset import require_same_dataset
from bids_ihf.bids.validation import validate_input
from bids_ihf.cli import summary
from bids_ihf.cli.progress import Progress
from bids_ihf.errors import OUT_OF_MEMORY_MESSAGE, HarmonyError
from bids_ihf.io.atomic import remove_stale_temporaries, write_atomic
from bids_ihf.pipeline.engine import prepare_environment, read_plugin
from bids_ihf.pipeline.harmonization import choose_device
from bids_ihf.pipeline.participants import ProgressStep, Result, run_participants
from bids_ihf.pipeline.plan import HARMONIZE_ACTION, Job, ResolvedTarget, plan
from bids_ihf.pipeline.process import limit_threads
from bids_ihf.pipeline.resources import (
    announce_device,
    describe_run,
    find_all_images,
    resolve_target,
)
from bids_ihf.pipeline.run_log import (
    NOTICE_LEVEL,
    RunLog,
    keep_early_records,
    log_to_subjects,
    start_logging,
    subject_context,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bids_ihf.config import RunConfig

LOGGER = logging.getLogger(__name__)


def run(config: RunConfig) -> int:
    """Do what the settings ask for, and return the exit code.

    Raises
    ------
    HarmonyError
        The run as a whole is not possible.
    """
    start_logging(config.verbose)
    keep_early_records()
    prepare_environment(config.work_dir)
    if config.analysis_level == "group":
        from bids_ihf.pipeline.group import run_group

        run_group(config.out_dir)
        return 0
    if config.reports_only:
        subjects = select_subjects(config.out_dir, config.participant_label)
        return 0 if build_reports(subjects, config) else 1
    return run_participant_level(config)


def run_participant_level(config: RunConfig) -> int:
    """Harmonize the selected images, or list them with ``--dry-run``."""
    if config.use_plugin is not None:
        read_plugin(config.use_plugin)
    if config.bids_database_dir is not None:
        LOGGER.log(NOTICE_LEVEL, "--bids-database-dir is not used: the dataset is listed anew.")
    subjects = select_subjects(config.bids_dir, config.participant_label)
    allow_other = config.allow_other_dataset
    require_same_dataset(config.out_dir, config.bids_dir, allow_other=allow_other)
    images = find_all_images(config, subjects)
    if not config.skip_bids_validation:
        images = validate_input(config.bids_dir, images)
    limit_threads(1)
    target = resolve_target(config)
    jobs = plan(images, config, target)
    if config.dry_run:
        summary.list_jobs(jobs, target, config.bids_dir, sys.stdout)
        problems = [job.image.problem for job in jobs if job.image.problem]
        for message in dict.fromkeys(problem.message for problem in problems):
            LOGGER.error("%s", message)
        return summary.common_exit_code([p.error.exit_code for p in problems], len(jobs))
    return harmonize(jobs, config, target)


def harmonize(jobs: Sequence[Job], config: RunConfig, target: ResolvedTarget) -> int:
    """Run the jobs, report on their images, and log what became of them."""
    todo = [job for job in jobs if job.action == HARMONIZE_ACTION]
    device = choose_device(config.device)
    if config.device == "auto":
        announce_device(device)
    initialize_output(config.out_dir, config.bids_dir)
    remove_stale_files(config.out_dir, {job.image.subject for job in todo})
    start_subject_logs(jobs, config, target)
    summary.announce(jobs, target)
    results: list[Result] = []
    pages = ParticipantPages(todo, config)
    if todo:
        with Progress(len(todo)) as progress:

            def on_progress(job: Job, step: ProgressStep) -> None:
                progress.step(job, step)
                pages.step(job, step)

            results = run_participants(todo, config, target, device, on_progress)
    summary.log_failures(results)
    marks = [(job, job.sidecar) for job in jobs if job.finished]
    marks += [(result.job, result.crash_file) for result in results if result.crash_file]
    outdated = {job.image.subject for job, mark in marks if page_is_older(job, mark, config)}
    reported = build_reports(outdated | pages.pending, config) and pages.all_built
    summary.close(jobs, results, config)
    return summary.exit_code(results) or (0 if reported else 1)


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
    """Remove what killed runs left half-written in the root and in these subjects' folders."""
    remove_stale_temporaries(out_dir)
    for subject in subjects:
        top = out_dir / f"sub-{subject}"
        for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
            remove_stale_temporaries(folder)


def start_subject_logs(jobs: Iterable[Job], config: RunConfig, target: ResolvedTarget) -> None:
    """Give every subject a log file and a copy of the settings of this run."""
    run_log = RunLog.of(config)
    subjects = list(dict.fromkeys(job.image.subject for job in jobs))
    content = describe_run(config, target).encode(errors="replace")
    for subject in subjects:
        write_atomic(run_log.folder(subject) / "ihf_harmony.toml", content)
    log_to_subjects(run_log, subjects)


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
