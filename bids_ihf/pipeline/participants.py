"""The participant graph: for each image prepare, then harmonize; a T2w image or a diffusion series
leans on its session's T1w."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from bids_ihf.errors import TemporaryFailure
from bids_ihf.pipeline.failures import Failure, failures
from bids_ihf.pipeline.plan import HARMONIZE
from bids_ihf.pipeline.work_dir import prepare_work_dir, subject_folder, workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bids_ihf.config import RunConfig
    from bids_ihf.pipeline.plan import Task
    from bids_ihf.pipeline.worker import Settings

LOGGER = logging.getLogger(__name__)

BATCH = 16
"""Fewest subjects in one graph; bounds the intermediate files that lie on disk at once."""
PREPARE_MEMORY = {"bytes_per_voxel": 60.0, "base": 0.8}
DIFFUSION_MEMORY = {"bytes_per_voxel": 600.0, "base": 0.8}
"""For four shells; it does not grow with the number of volumes."""
HARMONIZE_MEMORY = {"bytes_per_voxel": 60.0, "base": 1.0}


@frozen
class Outcome:
    """What became of the tasks that were to be harmonized."""

    harmonized: tuple[Task, ...]
    failed: tuple[tuple[Task, Failure | None], ...]
    """With what failed; None where the run stopped before the image's turn."""


def run_participants(
    tasks: Sequence[Task],
    config: RunConfig,
    settings: Settings,
    on_step: Callable[[Task, str], None],
) -> Outcome:
    """Harmonize all tasks; one that fails does not stop the others unless the settings say so.

    ``on_step`` is told of every task the stages it enters (``prepare``, ``harmonize``), and with
    what it is through (``end``, ``exception``).

    Raises
    ------
    CannotWrite
        The work folder cannot be written.
    UsageError
        The plugin file cannot be used.
    """
    todo = [task for task in tasks if task.action == HARMONIZE]
    prepare_work_dir(config.work_dir)
    harmonized: list[Task] = []
    failed: list[tuple[Task, Failure | None]] = []
    for batch in _batches(todo, max(BATCH, 4 * config.n_procs)):
        stop = bool(failed) and config.stop_on_first_crash
        if stop:
            failed += [(task, None) for task in batch]
            continue
        subjects = {task.image.subject for task in batch}
        with workplace(config.work_dir, subjects, config.run_uuid) as folder:
            outcome = _run_batch(batch, evolve(config, work_dir=folder), settings, on_step)
            _clear(batch, outcome, folder)
        harmonized += outcome.harmonized
        failed += outcome.failed
    return Outcome(tuple(harmonized), tuple(failed))


def _batches(tasks: Iterable[Task], subjects: int) -> Iterable[list[Task]]:
    """Tasks of so many subjects at a time, subjects whole."""
    by_subject: dict[str, list[Task]] = {}
    for task in tasks:
        by_subject.setdefault(task.image.subject, []).append(task)
    groups = list(by_subject.values())
    for start in range(0, len(groups), subjects):
        yield [task for group in groups[start : start + subjects] for task in group]


def _clear(batch: Iterable[Task], outcome: Outcome, work_dir: Path) -> None:
    """Drop the intermediate files of subjects without a failure; the others may be looked at."""
    bad = {task.image.subject for task, _ in outcome.failed}
    for subject in {task.image.subject for task in batch} - bad:
        shutil.rmtree(subject_folder(work_dir, subject), ignore_errors=True)


def _run_batch(
    batch: Sequence[Task],
    config: RunConfig,
    settings: Settings,
    on_step: Callable[[Task, str], None],
) -> Outcome:
    """One graph; then once more, alone, the images whose T1w could not be prepared."""
    reason = _run_graph(batch, config, settings, on_step, anchored=True)
    known = {t.image.subject: failures(config.log_dir(t.image.subject)) for t in batch}
    orphans = [
        task
        for task in batch
        if task.anchor
        and not task.finished
        and node_name("prepare", task.anchor.path) in known[task.image.subject]
    ]
    if orphans and not config.stop_on_first_crash:
        for task in orphans:
            LOGGER.warning(
                "%s: the T1w image of its session failed; aligned on its own.", task.name
            )
        reason = _run_graph(orphans, config, settings, on_step, anchored=False) or reason
        known = {t.image.subject: failures(config.log_dir(t.image.subject)) for t in batch}
    failed = [
        (t, _failure(t, known[t.image.subject]) or (None if reason else _replaced(t, config)))
        for t in batch
        if not t.finished
    ]
    if reason and not any(failure for _, failure in failed):
        LOGGER.error("The run stopped: %s", reason)
    return Outcome(tuple(t for t in batch if t.finished), tuple(failed))


def _failure(task: Task, known: dict[str, Failure]) -> Failure | None:
    """What stopped a task: its harmonization, its preparation, or its anchor's."""
    paths = [task.image.path, *([task.anchor.path] if task.anchor else [])]
    names = [node_name("harmonize", paths[0]), *(node_name("prepare", path) for path in paths)]
    return next((known[name] for name in names if name in known), None)


def _replaced(task: Task, config: RunConfig) -> Failure:
    """An image that was finished, and whose results are gone or another run's by now."""
    return Failure(
        node_name("harmonize", task.image.path),
        f"{task.sidecar}: was written, then replaced or taken away by somebody else while this "
        "run went on; run again, one target at a time.",
        TemporaryFailure.exit_code,
        config.log_dir(task.image.subject),
    )


def node_name(step: str, image: Path) -> str:
    """Name of an image's node: nipype allows letters, digits, ``_`` and ``-``."""
    stem = image.name.split(".")[0]
    return f"{step}_{''.join(c if c.isalnum() or c in '_-' else '-' for c in stem)}"


def _run_graph(
    tasks: Sequence[Task],
    config: RunConfig,
    settings: Settings,
    on_step: Callable[[Task, str], None],
    *,
    anchored: bool,
) -> str | None:
    """Run a graph to its end; why nipype says it did not get there, if it did not."""
    from bids_ihf.pipeline.engine import execute
    from bids_ihf.pipeline.graph import build_graph, threads_per_image

    last = {node_name("harmonize", task.image.path): task for task in tasks}
    first = {node_name("prepare", task.image.path): task for task in tasks}

    stages = {name: ("harmonize", task) for name, task in last.items()}
    stages |= {name: ("prepare", task) for name, task in first.items()}

    def callback(node: Any, status: str) -> None:
        if status == "start" and node.name in stages:
            stage, task = stages[node.name]
            on_step(task, stage)
        # nipype also calls a node ended that it left out after a failure.
        elif status == "end" and node.name in last and last[node.name].finished:
            on_step(last[node.name], status)
        elif status == "exception" and node.name in {**first, **last}:
            on_step({**first, **last}[node.name], status)

    workflow = build_graph(tasks, config, settings, anchored=anchored)
    # One image on the GPU at a time: a second one gains little and may not fit.
    slots = 0 if settings.device == "cpu" else threads_per_image(config, len(tasks))
    return execute(workflow, config, slots, callback)
