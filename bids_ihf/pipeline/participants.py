"""Running the jobs of some participants, and what became of each job."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, frozen

from bids_ihf.bids.images import SourceImage
from bids_ihf.config import RunConfig
from bids_ihf.errors import TemporaryFailure
from bids_ihf.io.failures import Failure, read_failures
from bids_ihf.pipeline.job import Job, ResolvedTarget
from bids_ihf.pipeline.longitudinal import without_failures
from bids_ihf.pipeline.run_log import RunLog
from bids_ihf.pipeline.work_dir import locked_work_dir, make_work_dir, subject_folder

FailuresByStep = dict[tuple[str, str], "tuple[Failure, Path]"]
LOGGER = logging.getLogger(__name__)

ProgressStep = Literal["prepare", "prepared", "harmonize", "end", "exception"]

NO_RESULT_MESSAGE = (
    "{}: is not there although nothing is known to have failed: another run replaced or removed "
    "it, or no record of the failure could be written; run again, one target at a time."
)


@frozen
class Result:
    """What became of a job: harmonized, failed, or not run because the run stopped before.

    ``crash_file`` is the text file with the traceback of ``failure``.
    """

    job: Job
    harmonized: bool
    failure: Failure | None = None
    crash_file: Path | None = None


def run_participants(
    jobs: Sequence[Job],
    config: RunConfig,
    target: ResolvedTarget,
    device: str,
    on_progress: Callable[[Job, ProgressStep], None],
) -> list[Result]:
    """Harmonize the jobs of some participants; one that fails does not stop the others unless the
    settings say so.

    ``on_progress`` is called for every job with the steps that it enters (``prepare``,
    ``harmonize``), when the first of them is over (``prepared``), and with how it ended (``end``,
    ``exception``).

    Raises
    ------
    CannotWrite
        The work folder cannot be written.
    UsageError
        The plugin file cannot be used.
    """
    make_work_dir(config.work_dir)
    subjects = {job.image.subject for job in jobs}
    with locked_work_dir(config.work_dir, subjects, config.run_uuid) as folder:
        results = _run_batch(jobs, evolve(config, work_dir=folder), target, device, on_progress)
        _remove_intermediate_files(results, folder)
    return results


def _remove_intermediate_files(results: Iterable[Result], work_dir: Path) -> None:
    """Of subjects without a failure; those of the others may be looked at."""
    failed = {result.job.image.subject for result in results if not result.harmonized}
    for subject in {result.job.image.subject for result in results} - failed:
        shutil.rmtree(subject_folder(work_dir, subject), ignore_errors=True)


def _run_batch(
    batch: Sequence[Job],
    config: RunConfig,
    target: ResolvedTarget,
    device: str,
    on_progress: Callable[[Job, ProgressStep], None],
) -> list[Result]:
    """Run one graph; then what failed only for another image, without that one."""
    jobs = {job.image.relative: job for job in batch}
    reason, failures, left = None, FailuresByStep(), list(batch)
    while left:
        reason = _run_graph(left, config, target, device, on_progress) or reason
        failures = _failures(batch, config)
        changed = [] if config.stop_on_first_crash else _without_failures(jobs.values(), failures)
        jobs |= {job.image.relative: job for job in changed}
        left = [job for job in changed if not job.finished]
    results = [_result(job, failures, stopped=reason is not None) for job in jobs.values()]
    if reason and not any(result.failure for result in results):
        LOGGER.error("The run stopped: %s", reason)
    return results


def _without_failures(jobs: Iterable[Job], failures: FailuresByStep) -> list[Job]:
    """The jobs that were held up by the failure of another image, as they can do without it."""
    failed = {image for step, image in failures if step == "prepare"}
    changed = []
    for job in jobs:
        reduced = None if job.finished else without_failures(job, failed)
        if reduced is None:
            continue
        if job.t1w and not reduced.t1w:
            LOGGER.warning(
                "%s: the T1w image of its session failed; registered by itself.", job.name
            )
        if len(reduced.scans) < len(job.scans):
            LOGGER.warning("%s: harmonized without the scan that failed.", job.name)
        changed.append(reduced)
    return changed


def _key(step: str, image: SourceImage) -> tuple[str, str]:
    return step, image.relative


def _failures(batch: Iterable[Job], config: RunConfig) -> FailuresByStep:
    """Failures of this run, by step and image."""
    return {
        (failure.step, failure.image): (failure, path)
        for subject in {job.image.subject for job in batch}
        for path, failure in read_failures(RunLog.of(config).folder(subject)).items()
    }


def _result(job: Job, failures: FailuresByStep, *, stopped: bool) -> Result:
    """What became of a job: what stopped it was its own step, or that of its T1w image."""
    if job.finished:
        return Result(job, harmonized=True)
    keys = [_key("harmonize", job.image), _key("prepare", job.image)]
    keys += [_key("prepare", job.t1w)] if job.t1w else []
    for key in keys:
        if key in failures:
            return Result(job, False, *failures[key])
    if stopped:
        return Result(job, harmonized=False)
    error = TemporaryFailure(NO_RESULT_MESSAGE.format(job.sidecar))
    return Result(job, False, Failure.of(error, job.image.relative, "harmonize"))


def _run_graph(
    jobs: Sequence[Job],
    config: RunConfig,
    target: ResolvedTarget,
    device: str,
    on_progress: Callable[[Job, ProgressStep], None],
) -> str | None:
    """Run a graph to its end; why nipype says it did not get there, if it did not."""
    from bids_ihf.pipeline.engine import execute
    from bids_ihf.pipeline.graph import build_graph, threads_per_image

    by_image = {job.image.relative: job for job in jobs}

    def callback(node: Any, status: str) -> None:
        context = getattr(node.inputs, "context", None)
        if context is None or context.image not in by_image:  # serves other images only
            return
        job = by_image[context.image]
        if status == "start":
            on_progress(job, context.step)
        # nipype also calls a node ended that it left out after a failure.
        elif status == "end" and context.step == "harmonize" and job.finished:
            on_progress(job, "end")
        elif status == "end" and context.step == "prepare":
            on_progress(job, "prepared")
        elif status == "exception":
            on_progress(job, "exception")

    workflow = build_graph(jobs, config, target, device)
    # One image on the GPU at a time: a second one gains little and may not fit.
    gpu_slots = 0 if device == "cpu" else threads_per_image(config, len(jobs))
    return execute(workflow, config, gpu_slots, callback)
