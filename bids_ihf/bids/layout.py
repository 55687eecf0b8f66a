"""The pybids index, one participant at a time: 0.2 s instead of minutes for a large dataset."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.errors import CannotWrite, InvalidBIDS
from bids_ihf.io.paths import NIFTI_EXTENSIONS

LOGGER = logging.getLogger(__name__)

_INDEX_FILE_NAME = "layout_index.sqlite"
_UNINDEXED_FOLDERS = "code|derivatives|sourcedata|stimuli|models|phenotype|logs"


def subject_layout(bids_dir: Path, subject: str, database_dir: Path | None = None) -> Any:
    """Index one participant's anatomical and diffusion files and the sidecars they inherit.

    Parameters
    ----------
    bids_dir
        Root of the dataset, absolute.
    subject
        Label without ``sub-``.
    database_dir
        Where to keep the index for later runs, one SQLite file for each participant; None keeps
        it in memory (SQLite on a network file system is slow and may hang).

    Returns
    -------
    bids.layout.BIDSLayout

    Raises
    ------
    InvalidBIDS
        A sidecar cannot be read.
    CannotWrite
        The index cannot be kept in `database_dir`.
    """
    folder = database_dir / f"sub-{subject}" if database_dir else None
    layout = _load(folder, bids_dir) if folder else None
    if layout is None:
        layout = _index(bids_dir, subject)
        if folder:
            _save(layout, folder)
    return layout


def ignore_patterns(subject: str) -> list[re.Pattern[str]]:
    """Patterns of what need not be indexed, matched on paths from the root (``/...``)."""
    name = re.escape(f"sub-{subject}")
    return [
        re.compile(rf"^/(?!{name}(?:[/_.]|$))sub-"),
        re.compile(rf"^/(?:{_UNINDEXED_FOLDERS})(?:/|$)"),
        re.compile(r"/\."),
        # Of the participant only anat/, dwi/ and the sidecars above them matter.
        re.compile(rf"^/{name}/(?:ses-[^/]+/)?(?!ses-|sub-|(?:anat|dwi)(?:/|$))[^/]+"),
    ]


def _index(bids_dir: Path, subject: str) -> Any:
    from bids.exceptions import BIDSConflictingValuesError
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    indexer = BIDSLayoutIndexer(
        validate=False,
        ignore=ignore_patterns(subject),
        # Only the sidecars of these images are read: a broken one elsewhere does no harm.
        suffix=list(IMAGE_SUFFIXES),
        extension=[*NIFTI_EXTENSIONS, ".json"],
    )
    try:
        return BIDSLayout(bids_dir, validate=False, indexer=indexer)
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        BIDSConflictingValuesError,
    ) as error:
        raise InvalidBIDS(
            f"The sidecars of sub-{subject} in {bids_dir} cannot be read ({error}): correct them."
        ) from error


def _load(folder: Path, bids_dir: Path) -> Any | None:
    """Return the stored index; None if there is none or it is damaged or of another dataset."""
    from bids.layout import BIDSLayout
    from sqlalchemy.exc import SQLAlchemyError

    if not (folder / _INDEX_FILE_NAME).is_file():
        return None
    try:
        layout = BIDSLayout(database_path=folder, validate=False)
        layout.get(suffix="T1w")
    except (SQLAlchemyError, OSError, ValueError, TypeError, AttributeError) as error:
        LOGGER.warning("The index in %s cannot be used (%s) and is rebuilt.", folder, error)
        return None
    if str(layout.root) != str(bids_dir):
        LOGGER.warning("The index in %s is that of %s and is rebuilt.", folder, layout.root)
        return None
    return layout


def _save(layout: Any, folder: Path) -> None:
    """Store an index completely or not at all: other jobs may be reading it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".index-", dir=folder))
        try:
            layout.save(scratch, replace_connection=False)
            os.replace(scratch / _INDEX_FILE_NAME, folder / _INDEX_FILE_NAME)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise CannotWrite(
            f"The index in {folder} cannot be written ({reason}): choose another folder."
        ) from error
