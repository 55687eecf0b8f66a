"""``ihf benchmark``: harmonization of simulated traveling people, against simple methods."""

from __future__ import annotations

import logging
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from bids_ihf.errors import TemporaryFailure
from bids_ihf.lab.benchmarks.vendors.plan import check, hashes_of
from bids_ihf.lab.benchmarks.vendors.references import make_reference
from bids_ihf.lab.benchmarks.vendors.worker import (
    look_into_person,
    measure_person,
    scan_reference,
    start_worker,
)
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bids_ihf.lab.benchmarks.table import Row
    from bids_ihf.lab.benchmarks.vendors.example_slices import Look
    from bids_ihf.lab.benchmarks.vendors.plan import Plan
    from bids_ihf.lab.benchmarks.vendors.readout import Embedded
    from bids_ihf.lab.benchmarks.vendors.references import Reference
    from bids_ihf.lab.benchmarks.virtual_subjects import Slices
    from bids_ihf.lab.simulation.protocol import Modality

LOGGER = logging.getLogger(__name__)


@frozen(eq=False)
class Outcome:
    """Rows of measures by person, scan and method; what the figures show; hashes of weights and
    targets; where asked for, rows on anatomy and statistics by person and scanner."""

    rows: list[dict[str, Any]]
    looks: list[Look]
    hashes: dict[str, str]
    anatomy: list[Row] = field(factory=list)
    embedded: list[Embedded] = field(factory=list)


def run_benchmark(plan: Plan) -> Outcome:
    """Simulate, harmonize and measure, ``jobs`` people and modalities at a time.

    Raises
    ------
    BadData, UsageError
        The plan, a label map or a file of weights cannot be used.
    TemporaryFailure
        A process was killed, most likely for want of memory.
    """
    check(plan)
    hashes = hashes_of(plan)
    set_up_process(1, 0)  # for the processes, which inherit the environment
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(plan.jobs, mp_context=context, initializer=start_worker)
    try:
        who = [(plan, p, m) for m in plan.modalities for p in plan.references]
        scanned = _all_done(pool, scan_reference, who, "Scanned")
        known = _by_vendor(plan, who, scanned)
        who = [(plan, p, m) for m in plan.modalities for p in plan.people]
        tasks = [(*each, known[each[2]]) for each in who]
        measured = _all_done(pool, measure_person, tasks, "Measured")
        alone = [(plan, p) for p in plan.people] if plan.anatomy else []
        looked = _all_done(pool, look_into_person, alone, "Looked into the anatomy of")
    except BrokenProcessPool as error:
        raise TemporaryFailure(
            "A process of the benchmark was killed, most likely for want of memory; use fewer "
            "--jobs."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    rows = [row for found, _ in measured for row in found]
    return Outcome(
        rows, [look for _, seen in measured for look in seen], hashes,
        anatomy=[row for found, _ in looked for row in found],
        embedded=[scan for _, found in looked for scan in found],
    )  # fmt: skip


def _all_done(
    pool: ProcessPoolExecutor,
    work: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    verb: str,
) -> list[Any]:
    """Results in the order of the tasks, with a line for each when it is done."""
    start = time.perf_counter()
    futures = {pool.submit(work, *task): number for number, task in enumerate(tasks)}
    results: list[Any] = [None] * len(tasks)
    for count, future in enumerate(as_completed(futures), start=1):
        number = futures[future]
        results[number] = future.result()
        whose = " ".join(word for word in tasks[number] if isinstance(word, str))
        seconds = time.perf_counter() - start
        LOGGER.info("%s %s (%d of %d, %.0f s)", verb, whose, count, len(tasks), seconds)
    return results


def _by_vendor(
    plan: Plan,
    who: Sequence[tuple[Plan, str, Modality]],
    scanned: Sequence[dict[str, Slices]],
) -> dict[Modality, dict[str, Reference]]:
    return {
        modality: {
            vendor: make_reference(
                [
                    scans[vendor]
                    for (_, _, m), scans in zip(who, scanned, strict=True)
                    if m == modality
                ]
            )
            for vendor in BUILTIN_VENDORS
        }
        for modality in plan.modalities
    }
