"""One run of ``ihf-harmony``: validate, discover, plan, harmonize, report, exit code."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from bids_ihf.cli import summary
from bids_ihf.cli.progress import Progress
from bids_ihf.errors import OUT_OF_MEMORY_MESSAGE, HarmonyError
from bids_ihf.pipeline.engine import prepare_environment, read_plugin
from bids_ihf.pipeline.plan import HARMONIZE, Task, plan
from bids_ihf.pipeline.run_log import NOTICE, about, log_to_subjects, start_logging
from bids_ihf.pipeline.session import find_all, make_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bids_ihf.config import RunConfig
    from bids_ihf.pipeline.participants import Outcome
    from bids_ihf.pipeline.worker import Settings

LOGGER = logging.getLogger(__name__)


def run(config: RunConfig) -> int:
    """Do what the settings ask for; the exit code.

    Raises
    ------
    HarmonyError
        The run as a whole cannot be.
    """
    start_logging(config.verbose)
    prepare_environment(config.work_dir)
    if config.analysis_level == "group":
        from bids_ihf.pipeline.group import run_group

        run_group(config.out_dir)
        return 0
    if config.reports_only:
        return report_only(config)
    return participants(config)


def participants(config: RunConfig) -> int:
    """The participant level."""
    from bids_ihf.bids.discovery import select_subjects
    from bids_ihf.bids.validation import validate_input

    if config.use_plugin is not None:
        read_plugin(config.use_plugin)
    subjects = select_subjects(config.bids_dir, config.participant_label)
    if not config.skip_bids_validation:
        validate_input(config.bids_dir, subjects)
    images = find_all(config, subjects)
    settings = make_settings(config)
    tasks = plan(images, config, settings.goal)
    if config.dry_run:
        summary.list_tasks(tasks, settings.goal, config.bids_dir, sys.stdout)
        return 0
    return harmonize(tasks, config, settings)


def harmonize(tasks: Sequence[Task], config: RunConfig, settings: Settings) -> int:
    """Harmonize what is to be done, report on it, and say what came out."""
    from bids_ihf.bids.dataset_files import initialize_output

    todo = [task for task in tasks if task.action == HARMONIZE]
    initialize_output(config.out_dir, config.bids_dir)
    tidy(config.out_dir, {task.image.subject for task in todo})
    start_logs(tasks, config, settings)
    summary.announce(tasks, settings)
    outcome = run_all(todo, config, settings)
    summary.tell_failures(outcome)
    reported = build_reports({task.image.subject for task in todo}, config)
    summary.close(tasks, outcome, config)
    return summary.exit_code(outcome, todo) or (0 if reported else 1)


def tidy(out_dir: Path, subjects: Iterable[str]) -> None:
    """Take away what killed runs left half-written in the root and in these subjects' folders."""
    from bids_ihf.io.atomic import remove_stale_temporaries

    remove_stale_temporaries(out_dir)
    for subject in subjects:
        top = out_dir / f"sub-{subject}"
        for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
            remove_stale_temporaries(folder)


def start_logs(tasks: Iterable[Task], config: RunConfig, settings: Settings) -> None:
    """Give every subject at work a log file and a copy of the settings of this run."""
    from bids_ihf.io.atomic import write_atomic
    from bids_ihf.pipeline.session import describe

    subjects = list(dict.fromkeys(task.image.subject for task in tasks))
    content = describe(config, settings).encode()
    for subject in subjects:
        write_atomic(config.log_dir(subject) / "ihf_harmony.toml", content)
    log_to_subjects(config, subjects)


def run_all(todo: Sequence[Task], config: RunConfig, settings: Settings) -> Outcome:
    """Run the participant graph, showing how far it is."""
    from bids_ihf.pipeline.participants import Outcome, run_participants

    if not todo:
        return Outcome((), ())
    with Progress(len(todo)) as progress:
        return run_participants(todo, config, settings, progress.step)


def report_only(config: RunConfig) -> int:
    """Rebuild the reports of the selected participants from what is in the output folder."""
    from bids_ihf.bids.discovery import select_subjects

    subjects = select_subjects(config.out_dir, config.participant_label)
    return 0 if build_reports(subjects, config) else 1


def build_reports(subjects: Iterable[str], config: RunConfig) -> bool:
    """A page for each participant; False if one could not be built."""
    built = True
    for subject in sorted(subjects):
        with about(subject):
            try:
                from bids_ihf.reports.participant import build_participant_report

                build_participant_report(config.out_dir, subject, config)
            except HarmonyError as error:
                LOGGER.error("sub-%s: no report: %s", subject, error)
                built = False
            except MemoryError:
                LOGGER.error(
                    "sub-%s: no report: %s", subject, OUT_OF_MEMORY_MESSAGE.format("MemoryError")
                )
                built = False
            except Exception:
                # The images are done; whatever the report stumbles over must not hide that.
                LOGGER.exception("sub-%s: the report could not be built", subject)
                built = False
            else:
                LOGGER.log(NOTICE, "Report: %s", config.out_dir / f"sub-{subject}.html")
    return built
