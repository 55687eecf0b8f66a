"""Validation of the input with the BIDS validator, restricted to the selected participants."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bids_ihf.errors import InvalidBIDS

LOGGER = logging.getLogger(__name__)

_VALIDATOR_NAME = "bids-validator-deno"
_MAX_SHOWN_ERRORS = 5
_TIMEOUT_SECONDS = 3600


def validate_input(bids_dir: Path, subjects: Iterable[str]) -> None:
    """Validate the root files and the folders of some participants.

    The validator reads every file of a dataset, so it is given a temporary folder of links.  Image
    headers are not validated here: on reading, one bad file is refused and not the whole dataset.
    A validator that is missing or fails on its own leads to a warning only.

    Raises
    ------
    InvalidBIDS
        The dataset is invalid; with the first errors and how to skip the validation.
    """
    binary = find_validator()
    if binary is None:
        LOGGER.warning(
            "%s is not installed: the input is NOT validated; install it with pip.",
            _VALIDATOR_NAME,
        )
        return
    try:
        with tempfile.TemporaryDirectory(prefix="bids-ihf-validate-") as scratch:
            tree = Path(scratch) / "dataset"
            _link_subset(bids_dir.absolute(), subjects, tree)
            issues = _run(binary, tree, Path(scratch))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        LOGGER.warning("%s failed (%s): the input is NOT validated.", _VALIDATOR_NAME, error)
        return
    errors = _relevant(issues)
    if errors:
        raise InvalidBIDS(_message(bids_dir, errors))


def find_validator() -> str | None:
    """Path of the validator: beside this Python (a virtual environment), or on the PATH."""
    in_environment = Path(sys.executable).parent / _VALIDATOR_NAME
    return str(in_environment) if in_environment.is_file() else shutil.which(_VALIDATOR_NAME)


def _link_subset(bids_dir: Path, subjects: Iterable[str], tree: Path) -> None:
    tree.mkdir()
    folders = {f"sub-{label.removeprefix('sub-')}" for label in subjects}
    for entry in bids_dir.iterdir():
        hidden = entry.name.startswith(".") and entry.name != ".bidsignore"
        if entry.name in folders or (not hidden and not entry.is_dir()):
            (tree / entry.name).symlink_to(entry)


def _run(binary: str, tree: Path, scratch: Path) -> Sequence[dict[str, Any]]:
    """Return the errors that the validator finds."""
    report = scratch / "report.json"
    # Deno keeps its cache under HOME, which may be missing or read-only.
    environment = {**os.environ, "DENO_DIR": str(scratch / "deno"), "NO_COLOR": "1"}
    options = ["--format", "json", "--ignoreWarnings", "--ignoreNiftiHeaders"]
    result = subprocess.run(  # noqa: S603 - our own binary, no shell
        [binary, str(tree), *options, "--outfile", str(report)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if not report.is_file():
        raise OSError(f"exit code {result.returncode}: {result.stderr.strip()[-300:]}")
    issues = json.loads(report.read_text(encoding="utf-8"))["issues"]["issues"]
    return [issue for issue in issues if issue.get("severity") == "error"]


def _relevant(issues: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop issues that come from unfetched files and from the restriction to some participants."""
    dangling = any(issue["code"] == "SYMLINK_BROKEN" for issue in issues)
    if dangling:
        LOGGER.warning("Some files are links without content (not fetched).")

    def is_relevant(issue: dict[str, Any]) -> bool:
        if issue["code"] == "SYMLINK_BROKEN":
            return False
        if issue["code"] == "SIDECAR_WITHOUT_DATAFILE":
            # A root sidecar may belong to a participant that was not selected.
            return not dangling and str(issue.get("location", "")).count("/") > 1
        return True

    return [issue for issue in issues if is_relevant(issue)]


def _message(bids_dir: Path, errors: Sequence[dict[str, Any]]) -> str:
    lines = [
        " ".join(str(issue[key]) for key in ("location", "code", "subCode") if issue.get(key))
        for issue in errors[:_MAX_SHOWN_ERRORS]
    ]
    if len(errors) > _MAX_SHOWN_ERRORS:
        lines.append(f"and {len(errors) - _MAX_SHOWN_ERRORS} more")
    return (
        f"{bids_dir} is not valid BIDS ({'; '.join(lines)}): "
        "correct it, or continue at your own risk with --skip-bids-validation."
    )
