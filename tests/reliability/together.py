"""Many runs at once on the same folders: nothing is lost, and nothing is mixed."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING

from attrs import frozen

from tests.reliability import outputs, phantom, runs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.reliability.runs import Done

TARGETS = ("Siemens", "GE")


@frozen
class Together:
    """What came of some runs at once."""

    case: str
    runs: int
    complaints: tuple[str, ...]


def _bytes_of(out: Path, subject: str) -> dict[str, bytes]:
    """A participant's derivatives, named as if it was nobody; sidecars without their source."""
    found = {}
    for name, content in outputs.derivatives(out).items():
        if name.startswith(f"sub-{subject}/"):
            plain = name.replace(f"sub-{subject}", "sub-x")
            found[plain] = content.replace(f"sub-{subject}".encode(), b"sub-x")
    return found


def participants(folder: Path, count: int) -> Together:
    """So many participants, each a process of its own, with one output and one work folder."""
    labels = [f"{number:02d}" for number in range(count)]
    bids = phantom.write_root(folder / "bids")
    for label in labels:
        phantom.write_scan(phantom.scan_path(bids, label, None))
    out, work, said = folder / "out", folder / "work", folder / "said"
    words = runs.participant(bids, out, work, "--target", "Siemens", "--participant-label")
    jobs = [runs.start([*words, label], said) for label in labels]
    complaints = _codes([job.wait() for job in jobs])
    alone = folder / "alone"
    done = runs.run(
        [*runs.participant(bids, alone, work, "--target", "Siemens"), "--participant-label", "00"],
        said,
    )
    complaints += _codes([done])
    undisturbed = _bytes_of(alone, "00")
    for label in labels:
        if _bytes_of(out, label) != undisturbed:
            complaints.append(f"sub-{label} is not what it is alone")
        if not (out / f"sub-{label}.html").is_file():
            complaints.append(f"sub-{label} has no report")
    complaints += _root(out)
    return Together("participants, one output and one work folder", count, tuple(complaints))


def same(folder: Path, count: int, targets: tuple[str, ...], seed: int) -> Together:
    """The same participant so many times at once, to one target or to several."""
    bids = phantom.write_dataset(folder / "bids", suffixes=("T1w", "dwi"))
    out, work, said = folder / "out", folder / "work", folder / "said"
    kept = {}
    for target in targets:
        kept[target] = folder / f"alone-{target}"
        done = runs.run(runs.participant(bids, kept[target], work, "--target", target), said)
        assert done.code == 0, done.err
    chance = random.Random(seed)
    jobs = []
    for number in range(count):
        target = targets[number % len(targets)]
        jobs.append(runs.start(runs.participant(bids, out, work, "--target", target), said))
        time.sleep(chance.uniform(0, 1.0))
    results = [job.wait() for job in jobs]
    complaints = outputs.flaws(out, outputs.Undisturbed.read(kept))
    codes = (0,) if len(targets) == 1 else (0, 1, 75)
    complaints += _codes(results, codes)
    ready = set().union(*(outputs.finished(out, target) for target in targets))
    if ready != {"sub-01_T1w", "sub-01_dwi"}:
        complaints.append(f"only {sorted(ready)} came out")
    complaints += _root(out)
    what = "one target" if len(targets) == 1 else "two targets"
    return Together(f"the same participant, {what}", count, tuple(complaints))


def _codes(results: list[Done], allowed: tuple[int, ...] = (0,)) -> list[str]:
    complaints = [
        f"exit code {done.code}: {done.err[-300:]}" for done in results if done.code not in allowed
    ]
    return complaints + ["a traceback" for done in results if "Traceback" in done.err]


def _root(out: Path) -> list[str]:
    """What is wrong with the files that all runs share."""
    complaints = [f"{name} is left behind" for name in outputs.leftovers(out)]
    try:
        json.loads((out / "dataset_description.json").read_text())
    except (OSError, ValueError) as error:
        complaints.append(f"dataset_description.json: {error}")
    return complaints
