"""What happened in the runs of a participant: failures, warnings and options."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import frozen

from bids_ihf.bids.harmonized_images import HarmonizedImage
from bids_ihf.bids.output_files import LOG_NAME
from bids_ihf.io.failures import Failure, read_failures
from bids_ihf.io.paths import file_stem

_WARNING_LINE = re.compile(r"^\S+ \S+ WARNING (.+)$", re.MULTILINE)
MAX_TRACEBACK_CHARACTERS = 20_000
"""Characters of a traceback that are shown: its end, where the error is."""


@frozen
class FailedStep:
    """A step of an image that failed, and whether the image has been completed since.

    The path of the crash file, whose end is the `traceback`, is relative to the output folder.
    """

    path: str
    image: str
    failure: Failure
    traceback: str
    is_resolved: bool


@frozen
class RunHistory:
    """Failures of all runs, newest first; warnings and options of the latest run that has any."""

    failures: Sequence[FailedStep]
    warnings: Sequence[str]
    options: Mapping[str, Any]


def read_run_history(out_dir: Path, subject: str, images: Sequence[HarmonizedImage]) -> RunHistory:
    """Read what the runs of a participant logged."""
    log_dir = out_dir / f"sub-{subject}" / "log"
    sidecars = {image.full_name: image.sidecar_path for image in images}
    failures = []
    for folder in sorted(log_dir.glob("*"), reverse=True):
        for path, failure in read_failures(folder).items():
            name = file_stem(PurePosixPath(failure.image))
            completed = sidecars[name].stat().st_mtime if name in sidecars else -1.0
            is_resolved = completed >= path.with_suffix(".json").stat().st_mtime
            traceback = _read_text(path)[-MAX_TRACEBACK_CHARACTERS:]
            relative = path.relative_to(out_dir).as_posix()
            failures.append(FailedStep(relative, name, failure, traceback, is_resolved))
    logs = sorted(log_dir.glob(f"*/{LOG_NAME}"))
    warnings = _WARNING_LINE.findall(_read_text(logs[-1])) if logs else []
    return RunHistory(failures, list(dict.fromkeys(warnings)), _read_options(log_dir))


def _read_text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _read_options(log_dir: Path) -> dict[str, Any]:
    for path in sorted(log_dir.glob("*/ihf_harmony.toml"), reverse=True):
        with suppress(tomllib.TOMLDecodeError):
            options = tomllib.loads(_read_text(path)).get("options")
            if isinstance(options, dict):
                return options
    return {}
