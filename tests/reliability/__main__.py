"""``python -m tests.reliability -o docs/results``: all that can go wrong, and the tables of it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.reliability import (
    bad_images,
    bad_usage,
    catalogue,
    endurance,
    faults,
    geometry,
    repeats,
    report,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAGE = Path(__file__).parents[2] / "docs/reliability.md"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _images(given: argparse.Namespace, folder: Path) -> None:
    found = catalogue.judge_images(bad_images.IMAGES, folder)
    report.keep(
        given.output, "images", [report.row(v.name, v.outcome, v.complaints) for v in found]
    )


def _usage(given: argparse.Namespace, folder: Path) -> None:
    cases = [
        catalogue.judge_usage(case, folder / str(number))
        for number, case in enumerate(bad_usage.USAGE)
    ]
    for part in dict.fromkeys(verdict.part for verdict in cases):
        rows = [report.row(v.name, v.outcome, v.complaints) for v in cases if v.part == part]
        report.keep(given.output, part, rows)


def _faults(given: argparse.Namespace, folder: Path) -> None:
    chosen = faults.schedule(given.faults, given.seed, given.kinds)

    def keep(rounds: Sequence[faults.Round]) -> None:
        rows = [
            report.row(
                *(one.fault, f"exit code {one.code}", one.complaints),
                seed=one.seed,
                moment=one.moment,
            )
            for one in rounds
        ]
        report.keep(given.output, "faults", rows, f"seed {given.seed}")

    faults.harness(folder / "world", chosen, 1000 * given.seed, _say, keep)


def _together(given: argparse.Namespace, folder: Path) -> None:
    found = [together.participants(folder / "many", given.processes)]
    for number in range(given.pairs):
        for targets in (together.TARGETS[:1], together.TARGETS):
            place = folder / f"{number}-{len(targets)}"
            found.append(together.same(place, 2, targets, given.seed + number))
            _say(f"{found[-1]}")
    rows = [report.row(f"{one.runs} runs, {one.case}", "nothing lost or mixed", one.complaints)
            for one in found]  # fmt: skip
    report.keep(given.output, "together", rows)


def _repeats(given: argparse.Namespace, folder: Path) -> None:
    rows = [
        report.row(one.case, "the same bytes" if one.difference == 0 else
                   f"differs by {one.difference:.1e} of the largest intensity", one.complaints)
        for one in repeats.repeats(folder)
    ]  # fmt: skip
    report.keep(given.output, "repeats", rows)


def _geometry(given: argparse.Namespace, folder: Path) -> None:
    rows = [
        report.row(one.case, "in place, header equal to the bit", one.complaints)
        for one in geometry.placed(folder, geometry.cases())
    ]
    report.keep(given.output, "geometry", rows)


def _endurance(given: argparse.Namespace, folder: Path) -> None:
    one = endurance.endure(folder, given.images, _say)
    outcome = (
        f"{one.memory_mb[0]:.0f} MB and {one.files[0]:.0f} open files in the second quarter, "
        f"{one.memory_mb[1]:.0f} MB and {one.files[1]:.0f} in the last"
    )
    rows = [report.row(f"{one.images} images in one call", outcome, one.complaints)]
    report.keep(given.output, "endurance", rows)


PARTS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "images": _images,
    "usage": _usage,
    "faults": _faults,
    "together": _together,
    "repeats": _repeats,
    "geometry": _geometry,
    "endurance": _endurance,
}


def main() -> None:
    """Run the parts that are asked for, and write tables of all that have been run."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seed", type=int, default=1, help="of the faults and their moments")
    parser.add_argument("--faults", type=int, default=219, help="how many faults")
    parser.add_argument("--kinds", nargs="*", default=[], help="parts of the names of faults")
    parser.add_argument("--processes", type=int, default=64, help="participants at once")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of runs of one participant")
    parser.add_argument("--images", type=int, default=500, help="images in one call")
    given = parser.parse_args()
    given.output = given.output.absolute()
    for part in given.parts:
        _say(f"== {part}")
        with tempfile.TemporaryDirectory(prefix="ihf-reliability-") as folder:
            PARTS[part](given, Path(folder))
    report.write_tables(given.output, PAGE)


if __name__ == "__main__":
    main()
