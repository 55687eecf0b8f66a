"""What went wrong: crash files and warnings that the runs of a participant left behind."""

from __future__ import annotations

import re
import tomllib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bids_ihf.io.failures import read_failures
from bids_ihf.io.paths import file_stem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_ihf.bids.harmonized_images import HarmonizedImage

_WARNING = re.compile(r"^\S+ \S+ WARNING (.+)$", re.MULTILINE)
LONGEST = 20_000
"""Characters of a crash file that are shown: its end, where the error stands."""


@frozen
class Crash:
    """A step of an image that failed.

    Attributes
    ----------
    path
        Crash file, relative to the output folder.
    node
        Name of the step.
    sentence
        What is wrong and what to do.
    details
        The crash file itself.
    mended
        Whether the image was finished after that.
    """

    path: str
    node: str
    sentence: str
    details: str
    mended: bool


def find_crashes(out_dir: Path, subject: str, images: Sequence[HarmonizedImage]) -> list[Crash]:
    """Return all failures of a participant, the newest run first."""
    sidecars = {f"{image.stem}_{image.suffix}": image.sidecar_path for image in images}
    crashes = []
    for folder in sorted((out_dir / f"sub-{subject}" / "log").glob("*"), reverse=True):
        for path, failure in read_failures(folder).items():
            name = file_stem(PurePosixPath(failure.image))
            sidecar, record = sidecars.get(name), path.with_suffix(".json")
            crashes.append(
                Crash(
                    path.relative_to(out_dir).as_posix(),
                    f"{failure.step} {name}",
                    failure.message,
                    _last_part(path),
                    sidecar is not None and sidecar.stat().st_mtime >= record.stat().st_mtime,
                )
            )
    return crashes


def _last_part(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[-LONGEST:]
    except OSError:
        return ""


def find_warnings(out_dir: Path, subject: str) -> list[str]:
    """Return the warnings of the latest run that has a log, each once."""
    logs = sorted((out_dir / f"sub-{subject}" / "log").glob("*/ihf_harmony.log"))
    if not logs:
        return []
    text = logs[-1].read_text(encoding="utf-8", errors="replace")
    return list(dict.fromkeys(_WARNING.findall(text)))


def find_options(out_dir: Path, subject: str) -> dict[str, Any]:
    """Return the options of the latest run that recorded them, or nothing."""
    for path in sorted((out_dir / f"sub-{subject}" / "log").glob("*/ihf_harmony.toml"))[::-1]:
        try:
            options = tomllib.loads(path.read_text(encoding="utf-8")).get("options", {})
        except (OSError, ValueError):
            continue
        return options if isinstance(options, dict) else {}
    return {}
