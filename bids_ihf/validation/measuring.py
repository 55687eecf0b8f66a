"""All scans of a study, prepared and harmonized one by one, in one or several processes."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from tqdm import tqdm

from bids_ihf.errors import HarmonyError, NothingSelected, TemporaryFailure
from bids_ihf.validation.harmonizing import harmonize_scan, read_scan, site_target
from bids_ihf.validation.outcomes import Outcome, Reading, Settings
from bids_ihf.validation.scans import MIN_TRAVELERS, Study, numbered, travelers_of

LOGGER = logging.getLogger(__name__)


@frozen(eq=False)
class Workers:
    """Processes that measure scans, each set up by ``initializer``; with one, this process.

    ``progress_level`` is the level of the log's lines on how far they are.
    """

    count: int
    initializer: Callable[[], None]
    progress_level: int = logging.INFO

    def run(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], doing: str
    ) -> list[Any | HarmonyError]:
        """Results of a function in the order of the tasks, its arguments; the error of one that
        failed in an expected way.

        ``doing`` says what, in a bar on a terminal and in a line for each task elsewhere.

        Raises
        ------
        TemporaryFailure
            A process was killed.
        """
        results: list[Any] = [None] * len(tasks)
        shown = sys.stderr.isatty()
        with tqdm(total=len(tasks), desc=doing, unit="image", disable=not shown) as progress:
            for count, (index, result) in enumerate(self._results(function, tasks), start=1):
                results[index] = result
                progress.update()
                if not shown:
                    LOGGER.log(
                        self.progress_level, "%s: %d of %d images", doing, count, len(tasks)
                    )
        return results

    def _results(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Any]]:
        if self.count == 1:
            yield from ((index, _outcome(function, task)) for index, task in enumerate(tasks))
            return
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=self.initializer)
        try:
            futures = {pool.submit(_outcome, function, task): i for i, task in enumerate(tasks)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise TemporaryFailure(
                "A process was killed, most likely for lack of memory; use a smaller --n-procs."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _outcome(function: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    try:
        return function(*task)
    except HarmonyError as error:
        return error


@frozen(eq=False)
class Findings:
    """What was measured of the usable scans of a study; ``failures`` are the images that could not
    be used, in words."""

    study: Study
    targets: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    failures: tuple[str, ...]


def measure_study(
    study: Study,
    targets: Sequence[str],
    settings: Settings,
    workers: Workers,
    folder: Path,
    *,
    min_travelers: int = MIN_TRAVELERS,
) -> Findings:
    """Prepare every scan, and harmonize it to each of the targets, built from other people.

    Parameters
    ----------
    study
        The scans.
    targets
        Names of the scanners to harmonize to.
    settings, workers
        How, and in which processes.
    folder
        Where prepared scans are kept meanwhile.
    min_travelers
        People with usable images of two scanners who are needed.

    Raises
    ------
    NothingSelected
        Fewer people than needed are left with usable images of two scanners.
    """
    tasks = [
        (scan, folder / f"{study.modality}-{number}.npz", settings)
        for number, scan in enumerate(study.scans)
    ]
    readings, outcomes, failures = [], [], []
    for result in workers.run(read_scan, tasks, f"{study.modality}, preparing"):
        if isinstance(result, HarmonyError):
            failures.append(str(result))
            LOGGER.error("%s", result)
        else:
            readings.append(result[0])
            outcomes += result[1]
    usable = travelers_of((reading.scan.person, reading.scan.scanner) for reading in readings)
    if len(usable) < min_travelers:
        raise NothingSelected(
            f"Only {len(usable)} people have usable {study.modality} images of two scanners, and "
            f"at least {min_travelers} are needed; the messages above say what is wrong with the "
            "others."
        )
    # Where a person's first scan cannot be used, the next one is the first.
    scans = list(numbered(reading.scan for reading in readings))
    by_name = {scan.name: scan for scan in scans}
    readings = [evolve(reading, scan=by_name[reading.scan.name]) for reading in readings]
    outcomes = [evolve(outcome, scan=by_name[outcome.scan.name]) for outcome in outcomes]
    study = evolve(study, scans=tuple(scans))
    harmonizing = list(_harmonizing_tasks(readings, targets, settings))
    for result in workers.run(harmonize_scan, harmonizing, f"{study.modality}, harmonizing"):
        if isinstance(result, HarmonyError):
            failures.append(str(result))
            LOGGER.error("%s", result)
        else:
            outcomes += result
    return Findings(study, tuple(targets), tuple(outcomes), tuple(failures))


def _harmonizing_tasks(
    readings: Sequence[Reading], targets: Sequence[str], settings: Settings
) -> Iterator[tuple[Any, ...]]:
    """Each scan with each target as other people show it; the truth if the person was there."""
    first = [reading for reading in readings if reading.scan.number == 0]
    for target in targets:
        for reading in readings:
            scan = reading.scan
            of_other_people = [item for item in first if item.scan.person != scan.person]
            references = [item for item in of_other_people if item.scan.scanner == target]
            if not references:
                LOGGER.warning(
                    "%s is not harmonized to %s: nobody else was scanned there.", scan.name, target
                )
                continue
            same_scanner = [item for item in of_other_people if item.scan.scanner == scan.scanner]
            site = site_target(
                target, references, same_scanner if settings.source_profiles else ()
            )
            truth = next(
                (
                    item
                    for item in first
                    if (item.scan.person, item.scan.scanner) == (scan.person, target)
                ),
                None,
            )
            is_pair = scan.scanner != target and scan.number == 0
            visits = [
                item
                for item in readings
                if (item.scan.person, item.scan.scanner) == (scan.person, scan.scanner)
            ]
            shared = tuple(visits) if settings.longitudinal else ()
            yield reading, site, truth if is_pair else None, settings, shared
