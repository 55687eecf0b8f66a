"""Validation of the input with the BIDS validator: only what is used of it can be refused."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from bids_ihf.bids.images import Problem, SourceImage
from bids_ihf.errors import InvalidBIDS

LOGGER = logging.getLogger(__name__)

_VALIDATOR_NAME = "bids-validator-deno"
_MAX_SHOWN_ERRORS = 5
_DATASET_LOCATIONS = frozenset(
    {"", "/", "/dataset_description.json", "/participants.tsv", "/participants.json"}
)
# A participant that participants.tsv does not list, or the reverse: the list is not used.
_PARTICIPANT_LIST_CODE = "PARTICIPANT_ID_MISMATCH"
# No field that BIDS requires of an image is read: one that is missing does not matter.
_UNUSED_FIELD_CODE = "SIDECAR_KEY_REQUIRED"
# Left to the reader of the image, which says more: content that is missing.
_READER_CODES = frozenset({"SYMLINK_BROKEN", "EMPTY_FILE"})
# Far above what the validator needs: minutes for thousands of participants.
_TIMEOUT_SECONDS = 3600


def validate_input(bids_dir: Path, images: Sequence[SourceImage]) -> list[SourceImage]:
    """Validate the root files of a dataset and the folders of the participants of some images.

    The validator reads every file of a dataset, so it is given a temporary folder of links.  Image
    headers are not validated here: on reading, one bad file is refused and not the whole dataset.
    Errors in files that are not used are a warning with their number, and so is a validator that
    is missing or fails on its own.

    Returns
    -------
    list of SourceImage
        The images; those with an error in their name, a sidecar or a table have it as `problem`.

    Raises
    ------
    InvalidBIDS
        A file of the root that describes the dataset has an error.
    """
    subjects = {image.subject for image in images}
    binary = find_validator()
    if binary is None:
        LOGGER.warning(
            "%s is not installed: the input is NOT validated; install it with pip.",
            _VALIDATOR_NAME,
        )
        return list(images)
    try:
        with tempfile.TemporaryDirectory(prefix="bids-ihf-validate-") as scratch:
            tree = Path(scratch) / "dataset"
            _link_subset(bids_dir.absolute(), subjects, tree)
            issues = _run(binary, tree, Path(scratch))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        LOGGER.warning("%s failed (%s): the input is NOT validated.", _VALIDATOR_NAME, error)
        return list(images)
    errors = _relevant(issues)
    of_dataset = [
        issue
        for issue in errors
        if _location(issue) in _DATASET_LOCATIONS and issue["code"] != _PARTICIPANT_LIST_CODE
    ]
    if of_dataset:
        raise InvalidBIDS(_message(bids_dir, of_dataset))
    errors_by_location: dict[str, list[dict[str, Any]]] = {}
    for issue in errors:
        if issue["code"] != _UNUSED_FIELD_CODE:
            errors_by_location.setdefault(_location(issue), []).append(issue)
    used: set[str] = set()
    validated = []
    for image in images:
        locations = {_location_of(path, image.root) for path in _files_of(image)}
        locations &= errors_by_location.keys()
        used |= locations
        problem = image.problem
        if locations and not problem:
            first = [issue for key in sorted(locations) for issue in errors_by_location[key]]
            problem = Problem(_message(bids_dir, first), InvalidBIDS)
        validated.append(attrs.evolve(image, problem=problem))
    _warn_of_unused(
        bids_dir,
        [
            issue
            for issue in errors
            if _location(issue) not in used or issue["code"] == _UNUSED_FIELD_CODE
        ],
    )
    return validated


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
        if issue["code"] in _READER_CODES:
            return False
        if issue["code"] == "SIDECAR_WITHOUT_DATAFILE":
            # A root sidecar may belong to a participant that was not selected.
            return not dangling and str(issue.get("location", "")).count("/") > 1
        return True

    return [issue for issue in issues if is_relevant(issue)]


def _location(issue: dict[str, Any]) -> str:
    return str(issue.get("location") or "")


def _location_of(path: Path, root: Path) -> str:
    return f"/{path.relative_to(root).as_posix()}"


def _files_of(image: SourceImage) -> list[Path]:
    """The image and what describes it."""
    tables = [table for table in (image.bval, image.bvec) if table is not None]
    return [image.path, *image.sidecars, *tables]


def _warn_of_unused(bids_dir: Path, errors: Sequence[dict[str, Any]]) -> None:
    if not errors:
        return
    codes = Counter(str(issue["code"]) for issue in errors)
    LOGGER.warning(
        "%s: the BIDS validator finds %d errors in files and fields that are not used (%s).",
        bids_dir,
        len(errors),
        ", ".join(f"{count} {code}" for code, count in codes.most_common()),
    )


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
