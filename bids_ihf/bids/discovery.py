"""Finding the images of a BIDS dataset that can be harmonized, one participant at a time."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from bids_ihf.bids.filters import Filters, matches
from bids_ihf.bids.images import SourceImage, not_fetched_message
from bids_ihf.bids.layout import subject_layout
from bids_ihf.bids.masks import find_mask
from bids_ihf.bids.names import IMAGE_SUFFIXES, BIDSName, parse_name
from bids_ihf.errors import InvalidBIDS, NothingSelected, UsageError
from bids_ihf.io.paths import NIFTI_EXTENSIONS, file_stem

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
    for folder in bids_dir.glob("sub-*"):
        if not folder.is_dir():
            continue
        if re.fullmatch(r"sub-[0-9A-Za-z+]+", folder.name):
            labels.append(folder.name.removeprefix("sub-"))
        else:
            LOGGER.warning("%s is left out: its name is not a BIDS participant label.", folder)
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
    missing = [label for label in requested if label not in present]
    if missing:
        listed = ", ".join(present[:MAX_LISTED_PARTICIPANTS])
        if len(present) > MAX_LISTED_PARTICIPANTS:
            listed += ", ..."
        raise NothingSelected(
            f"{bids_dir} has no participant {', '.join(missing)}: choose from {listed}."
        )
    return requested or present


def find_images(
    bids_dir: Path,
    subject: str,
    *,
    sessions: Sequence[str] = (),
    modalities: Sequence[str] = IMAGE_SUFFIXES,
    filters: Filters | None = None,
    database_dir: Path | None = None,
    derivatives: Sequence[Path] = (),
) -> list[SourceImage]:
    """Find one participant's images.

    Parameters
    ----------
    bids_dir
        Root of the dataset; paths are made absolute, but links never resolved.
    subject
        Label, with or without ``sub-``.
    sessions
        Labels, with or without ``ses-``; none means all.
    modalities
        Suffixes out of ``T1w``, ``T2w`` and ``dwi``.
    filters
        Conditions by modality, from `read_filters`.
    database_dir
        Where pybids may keep its index.
    derivatives
        Folders to search for brain masks.

    Returns
    -------
    list of SourceImage
        In the order of their paths.  Every image that is left out is logged.  So is a link without
        content, but it is kept: it will fail on its own while the others are harmonized.

    Raises
    ------
    InvalidBIDS
        A sidecar cannot be read.
    CannotWrite
        The index cannot be kept in `database_dir`.
    """
    root = bids_dir.absolute()
    label = subject.removeprefix("sub-")
    layout = subject_layout(root, label, database_dir)
    present = _parsed(_files(layout, IMAGE_SUFFIXES, NIFTI_EXTENSIONS), label)
    session_labels = {session.removeprefix("ses-") for session in sessions}
    candidates = []
    for path, name in present:
        metadata = {str(key): value for key, value in layout.get_metadata(str(path)).items()}
        query = (filters or {}).get(name.suffix, {})
        in_session = not session_labels or name.get("ses") in session_labels
        if name.suffix in modalities and in_session and matches(name, metadata, query):
            candidates.append(SourceImage.from_path(path, root, metadata))
    images = [_with_gradient_table(image, layout) for image in _usable(candidates)]
    if not images:
        LOGGER.warning(
            "sub-%s: no image for modalities %s, sessions %s, filters %s; the participant has: "
            "%s.",
            label,
            " ".join(modalities),
            " ".join(sorted(session_labels)) or "any",
            dict(filters) if filters else "none",
            ", ".join(path.name for path, _ in present) or "no T1w, T2w or dwi image at all",
        )
    return [attrs.evolve(image, mask=find_mask(derivatives, image)) for image in images]


def _files(layout: Any, suffixes: Sequence[str], extensions: Sequence[str]) -> list[Path]:
    paths = layout.get(suffix=list(suffixes), extension=list(extensions), return_type="filename")
    return sorted(Path(path) for path in paths)


def _parsed(paths: Iterable[Path], subject: str) -> list[tuple[Path, BIDSName]]:
    """Parse the names; log those that do not follow BIDS or are of another participant."""
    parsed = []
    for path in paths:
        try:
            name = parse_name(path)
        except InvalidBIDS as error:
            LOGGER.warning("Left out: %s", error)
            continue
        if name.get("sub") == subject:
            parsed.append((path, name))
        else:
            LOGGER.warning("%s is left out: it lies in the folder of sub-%s.", path, subject)
    return parsed


def _usable(images: Iterable[SourceImage]) -> list[SourceImage]:
    """Drop and log the images that cannot be harmonized or would have the same output name."""
    usable: dict[tuple[Any, ...], SourceImage] = {}
    # Of two copies of an image the compressed one sorts first and is taken.
    for image in sorted(images, key=lambda image: (file_stem(image.path), -len(image.path.name))):
        part_name = _NON_MAGNITUDE_PARTS.get(image.name.get("part") or "")
        key = (image.datatype, frozenset(image.name.without("desc")), image.suffix)
        if part_name:
            LOGGER.warning("%s is left out: a %s image is not harmonized.", image.path, part_name)
        elif key in usable:
            LOGGER.warning(
                "%s is left out: its output would have the name of that of %s.",
                image.path,
                usable[key].path,
            )
        else:
            usable[key] = image
            if not image.fetched:
                LOGGER.warning("%s", not_fetched_message(image.path))
    return sorted(usable.values(), key=lambda image: image.path)


def _with_gradient_table(image: SourceImage, layout: Any) -> SourceImage:
    if image.suffix != "dwi":
        return image
    bval, bvec = (_inherited(image, _files(layout, ["dwi"], [ext])) for ext in (".bval", ".bvec"))
    return attrs.evolve(image, bval=bval, bvec=bvec)


def _inherited(image: SourceImage, candidates: Iterable[Path]) -> Path | None:
    """Select the file that applies to an image by the inheritance principle.

    It lies in the image's folder or above it and has no entity that the image does not have; the
    nearest wins.  (The search of pybids also accepts a neighbouring file with more entities.)
    """
    applicable = []
    for path in candidates:
        # A table at the root has no entity at all ("dwi.bval"), which `parse_name` refuses.
        pairs = [tuple(pair.split("-", 1)) for pair in path.name.split("_")[:-1]]
        if path.parent in image.path.parents and set(pairs) <= set(image.name.entities):
            applicable.append((len(path.parts), len(pairs), path))
    return max(applicable)[2] if applicable else None
