"""What happened in the runs of a participant: failures, warnings and options."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from attrs import frozen

from bids_ihf.io.failures import read_failures
from bids_ihf.io.paths import file_stem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bids_ihf.bids.harmonized_images import HarmonizedImage

_WARNING_LINE = re.compile(r"^\S+ \S+ WARNING (.+)$", re.MULTILINE)
MAX_TRACEBACK_CHARACTERS = 20_000
"""Characters of a traceback that are shown: its end, where the error is."""


@frozen
class FailedStep:
    """A step of an image that failed.

    Attributes
    ----------
    path
        Crash file with the traceback, relative to the output folder.
    step
        The step and the image.
    message
        What is wrong and what to do.
    traceback
        Content of the crash file.
    resolved
        Whether the image was completed afterwards.
    """

    path: str
    step: str
    message: str
    traceback: str
    resolved: bool


@frozen
class RunHistory:
    """Failures of all runs, newest first; warnings of the latest run; options of the run."""

    failures: Sequence[FailedStep]
    warnings: Sequence[str]
    options: Mapping[str, Any]

    @property
    def open_failures(self) -> list[FailedStep]:
        """Failures of images that have not been completed since."""
        return [failure for failure in self.failures if not failure.resolved]

    @property
    def resolved_failures(self) -> list[FailedStep]:
        """Failures of images that have been completed since."""
        return [failure for failure in self.failures if failure.resolved]


def read_run_history(
    out_dir: Path, subject: str, images: Sequence[HarmonizedImage], options: Mapping[str, Any]
) -> RunHistory:
    """Read what the runs of a participant logged."""
    failures = _read_failures(out_dir, subject, images)
    return RunHistory(failures, _read_warnings(out_dir, subject), options)


def _read_failures(
    out_dir: Path, subject: str, images: Sequence[HarmonizedImage]
) -> list[FailedStep]:
    sidecars = {image.full_name: image.sidecar_path for image in images}
    failures = []
    for folder in sorted((out_dir / f"sub-{subject}" / "log").glob("*"), reverse=True):
        for path, failure in read_failures(folder).items():
            name = file_stem(PurePosixPath(failure.image))
            sidecar, record = sidecars.get(name), path.with_suffix(".json")
            traceback = ""
            with suppress(OSError):
                traceback = path.read_text(encoding="utf-8", errors="replace")
            failures.append(
                FailedStep(
                    path.relative_to(out_dir).as_posix(),
                    f"{failure.step} {name}",
                    failure.message,
                    traceback[-MAX_TRACEBACK_CHARACTERS:],
                    sidecar is not None and sidecar.stat().st_mtime >= record.stat().st_mtime,
                )
            )
    return failures


def _read_warnings(out_dir: Path, subject: str) -> list[str]:
    """Return the warnings of the latest run that has a log, each once."""
    logs = sorted((out_dir / f"sub-{subject}" / "log").glob("*/ihf_harmony.log"))
    if not logs:
        return []
    text = logs[-1].read_text(encoding="utf-8", errors="replace")
    return list(dict.fromkeys(_WARNING_LINE.findall(text)))


def read_options(out_dir: Path, subject: str) -> dict[str, Any]:
    """Return the options of the latest run that recorded them; empty if none did."""
    for path in sorted((out_dir / f"sub-{subject}" / "log").glob("*/ihf_harmony.toml"))[::-1]:
        try:
            options = tomllib.loads(path.read_text(encoding="utf-8")).get("options", {})
        except (OSError, ValueError):
            continue
        return options if isinstance(options, dict) else {}
    return {}
