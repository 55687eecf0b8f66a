"""Finding the images of a BIDS dataset that can be harmonized, one participant at a time."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from bids_ihf.bids.filters import Filters, matches
from bids_ihf.bids.images import Problem, SourceImage, not_fetched_message
from bids_ihf.bids.masks import find_mask
from bids_ihf.bids.metadata import merged_metadata
from bids_ihf.bids.names import IMAGE_SUFFIXES, BIDSName, parse_name
from bids_ihf.bids.raw_files import RootLevel, inherited, is_image, subject_files
from bids_ihf.errors import BadData, InvalidBIDS, NothingSelected, UsageError

LOGGER = logging.getLogger(__name__)

MAX_LISTED_PARTICIPANTS = 10
"""Number of participants that an error message lists at most."""

# These images have the suffixes of magnitude images, but their values are not intensities.
_NON_MAGNITUDE_PARTS = {"phase": "phase", "real": "real part", "imag": "imaginary part"}


def list_subjects(bids_dir: Path) -> list[str]:
    """List the labels of all participants, without ``sub-``, sorted.

    Raises
    ------
    UsageError
        The folder does not exist.
    """
    if not bids_dir.is_dir():
        raise UsageError(f"{bids_dir} is not a folder: give the root of a BIDS dataset.")
    labels = []
    with os.scandir(bids_dir) as entries:
        folders = [
            entry.name
            for entry in entries
            if entry.name.lower().startswith(("sub-", "sub_")) and entry.is_dir()
        ]
    for name in folders:
        if re.fullmatch(r"sub-[0-9A-Za-z+]+", name):
            labels.append(name.removeprefix("sub-"))
        else:
            LOGGER.warning(
                "%s is left out: its name is not a BIDS participant label.", bids_dir / name
            )
    return sorted(labels)


def select_subjects(bids_dir: Path, labels: Iterable[str] = ()) -> list[str]:
    """Select participants by label, with or without ``sub-``; no label means all.

    Raises
    ------
    NothingSelected
        The dataset has no participant, or lacks one of those asked for.
    """
    present = list_subjects(bids_dir)
    if not present:
        raise NothingSelected(
            f"{bids_dir} holds no folder sub-*: give the root of a BIDS dataset."
        )
    requested = list(dict.fromkeys(label.removeprefix("sub-") for label in labels))
    missing = sorted(set(requested) - set(present), key=requested.index)
    if missing:
        listed = ", ".join(present[:MAX_LISTED_PARTICIPANTS])
        if len(present) > MAX_LISTED_PARTICIPANTS:
            listed += ", ..."
        raise NothingSelected(
            f"{bids_dir} has no participant {', '.join(missing)}: choose from {listed}."
        )
    return requested or present


def require_sessions(bids_dir: Path, labels: Sequence[str]) -> None:
    """Check that each session asked for, with or without ``ses-``, is some participant's.

    Where none of them is, nothing is selected, and the run itself says what there is.

    Raises
    ------
    NothingSelected
        No participant has one of them.
    """
    names = [f"ses-{label.removeprefix('ses-')}" for label in labels]
    missing = [name for name in names if next(bids_dir.glob(f"sub-*/{name}"), None) is None]
    if missing and len(missing) < len(names):
        raise NothingSelected(
            f"{bids_dir}: no participant has {', '.join(missing)}; check --session-label."
        )


def find_images(
    bids_dir: Path,
    subject: str,
    *,
    sessions: Sequence[str] = (),
    modalities: Sequence[str] = IMAGE_SUFFIXES,
    filters: Filters | None = None,
    derivatives: Sequence[Path] = (),
    root_level: RootLevel | None = None,
) -> list[SourceImage]:
    """Find one participant's raw images.

    Parameters
    ----------
    bids_dir
        Root of the dataset; paths are made absolute, but links never resolved.
    subject
        Label, with or without ``sub-``.
    sessions
        Labels, with or without ``ses-``; none means all.
    modalities
        Suffixes of file names, out of `IMAGE_SUFFIXES`.
    filters
        Conditions by modality, from `read_filters`.
    derivatives
        Folders to search for brain masks.
    root_level
        What was read of the root before; it saves reading it again for every participant.

    Returns
    -------
    list of SourceImage
        In the order of their paths.  Every image that is left out is logged.  One that cannot be
        harmonized is kept: a link without content, an image with a sidecar that cannot be read or
        with a rival for its output (`SourceImage.problem`).  It will fail while others do not.
    """
    level = root_level or RootLevel.read(bids_dir)
    root, label = level.root, subject.removeprefix("sub-")
    files = subject_files(level, label)
    present = _parsed(filter(is_image, files), root, label)
    session_labels = {session.removeprefix("ses-") for session in sessions}
    candidates = []
    for path, name in present:
        in_session = not session_labels or name.get("ses") in session_labels
        if name.suffix in modalities and in_session:
            image = _described(path, root, files)
            if matches(name, image.metadata, (filters or {}).get(name.suffix, {})):
                candidates.append(image)
    images = _usable(candidates)
    if not images:
        LOGGER.warning(
            "sub-%s: no image for modalities %s, sessions %s, filters %s; the participant has: "
            "%s.",
            label,
            " ".join(modalities),
            " ".join(sorted(session_labels)) or "any",
            dict(filters) if filters else "none",
            ", ".join(path.name for path, _ in present) or "no such image at all",
        )
    return [attrs.evolve(image, mask=find_mask(derivatives, image)) for image in images]


def _parsed(paths: Iterable[Path], root: Path, subject: str) -> list[tuple[Path, BIDSName]]:
    """Parse the names; log those that do not follow BIDS or lie in a folder of another name."""
    parsed = []
    for path in paths:
        try:
            name = parse_name(path)
        except InvalidBIDS as error:
            LOGGER.warning("Left out: %s", error)
            continue
        session = f"/ses-{name.get('ses')}" if name.get("ses") else ""
        datatype = "dwi" if name.suffix == "dwi" else "anat"
        folder = path.parent.relative_to(root).as_posix()
        if name.get("sub") != subject:
            LOGGER.warning("%s is left out: it lies in the folder of sub-%s.", path, subject)
        elif folder != f"sub-{subject}{session}/{datatype}":
            LOGGER.warning(
                "%s is left out: by its name it belongs to sub-%s%s/%s.",
                path,
                subject,
                session,
                datatype,
            )
        else:
            parsed.append((path, name))
    return parsed


def _described(path: Path, root: Path, files: Sequence[Path]) -> SourceImage:
    """Return an image with its metadata and tables, or with what is wrong with its sidecars."""
    sidecars = tuple(inherited(path, files, ".json"))
    try:
        image = SourceImage.from_path(path, root, merged_metadata(sidecars))
    except InvalidBIDS as error:
        problem = Problem(str(error), InvalidBIDS)
        image = attrs.evolve(SourceImage.from_path(path, root), problem=problem)
    bvals, bvecs = inherited(path, files, ".bval"), inherited(path, files, ".bvec")
    return attrs.evolve(
        image,
        sidecars=sidecars,
        bval=bvals[-1] if bvals else None,
        bvec=bvecs[-1] if bvecs else None,
    )


def _usable(images: Iterable[SourceImage]) -> list[SourceImage]:
    """Drop and log images of other values; of images with one output the first stands for all."""
    rivals: dict[tuple[Any, ...], list[SourceImage]] = {}
    for image in images:
        part_name = _NON_MAGNITUDE_PARTS.get(image.name.get("part") or "")
        if part_name:
            LOGGER.warning("%s is left out: a %s image is not harmonized.", image.path, part_name)
        else:
            key = (image.datatype, frozenset(image.name.without("desc")), image.suffix)
            rivals.setdefault(key, []).append(image)
    usable = [_first_of(images_of_output) for images_of_output in rivals.values()]
    for image in usable:
        if not image.problem and not image.fetched:
            LOGGER.warning("%s", not_fetched_message(image.path))
    return usable


def _first_of(rivals: Sequence[SourceImage]) -> SourceImage:
    """Return the only image of an output; of several the first, with that as its problem."""
    if len(rivals) == 1:
        return rivals[0]
    message = (
        f"{rivals[0].path.parent}: {', '.join(image.path.name for image in rivals)} would have "
        "one output; remove all but one, list them in .bidsignore, or use --bids-filter-file."
    )
    return attrs.evolve(rivals[0], problem=Problem(message, BadData))
