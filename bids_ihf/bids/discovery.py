"""What a BIDS dataset holds that can be harmonized, found one participant at a time."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from bids_ihf.bids.filters import MODALITIES, Filters, matches, read_filters
from bids_ihf.bids.images import SourceImage, not_fetched_message
from bids_ihf.bids.layout import subject_layout
from bids_ihf.bids.masks import find_mask
from bids_ihf.bids.names import BIDSName, parse_name
from bids_ihf.errors import InvalidBIDS, NothingSelected, UsageError

__all__ = [
    "SourceImage",
    "find_images",
    "find_mask",
    "read_filters",
    "select_subjects",
    "subjects",
]

LOGGER = logging.getLogger(__name__)

# Phase, real and imaginary images bear the same suffix, but their intensities are no brightness.
_NON_MAGNITUDE_PARTS = {"phase": "phase", "real": "real part", "imag": "imaginary part"}


def subjects(bids_dir: Path) -> list[str]:
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
            LOGGER.warning("%s is left out: its name is not a BIDS participant's.", folder)
    return sorted(labels)


def select_subjects(bids_dir: Path, labels: Iterable[str] = ()) -> list[str]:
    """Choose participants by label, with or without ``sub-``; no label means all.

    Raises
    ------
    NothingSelected
        There is no participant, or one that was asked for is not there.
    """
    present = subjects(bids_dir)
    if not present:
        raise NothingSelected(
            f"{bids_dir} holds no folder sub-*: give the root of a BIDS dataset."
        )
    wanted = list(dict.fromkeys(label.removeprefix("sub-") for label in labels))
    missing = [label for label in wanted if label not in present]
    if missing:
        some = ", ".join(present[:10]) + (", ..." if len(present) > 10 else "")
        raise NothingSelected(
            f"{bids_dir} has no participant {', '.join(missing)}: choose from {some}."
        )
    return wanted or present


def find_images(
    bids_dir: Path,
    subject: str,
    *,
    sessions: Sequence[str] = (),
    modalities: Sequence[str] = MODALITIES,
    filters: Filters | None = None,
    database_dir: Path | None = None,
    derivatives: Sequence[Path] = (),
) -> list[SourceImage]:
    """Find one participant's images.

    Parameters
    ----------
    bids_dir
        Root of the dataset; names are made absolute, but links never resolved.
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
        Folders searched for brain masks.

    Returns
    -------
    list of Image
        In the order of their paths.  What has to be left out is logged by name; so is a link
        without content, which is kept, for it fails by itself and the others go on.

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
    present = _named(_files(layout, MODALITIES, [".nii.gz", ".nii"]), label)
    wanted = {session.removeprefix("ses-") for session in sessions}
    candidates = []
    for path, name in present:
        metadata = {str(key): value for key, value in layout.get_metadata(str(path)).items()}
        query = (filters or {}).get(name.suffix, {})
        asked = name.suffix in modalities and (not wanted or name.get("ses") in wanted)
        if asked and matches(name, metadata, query):
            candidates.append(SourceImage.from_path(path, root, metadata))
    chosen = [_with_tables(image, layout) for image in _usable(candidates)]
    if not chosen:
        _explain(label, [path.name for path, _ in present], sorted(wanted), modalities, filters)
    return [attrs.evolve(image, mask=find_mask(derivatives, image)) for image in chosen]


def _files(layout: Any, suffixes: Sequence[str], extensions: list[str]) -> list[Path]:
    found = layout.get(suffix=list(suffixes), extension=extensions, return_type="filename")
    return sorted(Path(path) for path in found)


def _named(paths: Iterable[Path], subject: str) -> list[tuple[Path, BIDSName]]:
    """Take the names apart; those that are not the participant's or not BIDS are logged."""
    named = []
    for path in paths:
        try:
            name = parse_name(path)
        except InvalidBIDS as error:
            LOGGER.warning("Left out: %s", error)
            continue
        if name.get("sub") == subject:
            named.append((path, name))
        else:
            LOGGER.warning("%s is left out: it lies in the folder of sub-%s.", path, subject)
    return named


def _usable(images: Iterable[SourceImage]) -> list[SourceImage]:
    """Drop, with a log line each, what cannot be harmonized or would share an output name."""
    usable: dict[tuple[Any, ...], SourceImage] = {}
    # Of two copies of an image the compressed one comes first, and is taken.
    for image in sorted(
        images, key=lambda one: (one.path.stem.split(".")[0], -len(one.path.name))
    ):
        part = _NON_MAGNITUDE_PARTS.get(image.name.get("part") or "")
        key = (image.datatype, frozenset(image.name.without("desc")), image.suffix)
        if part:
            LOGGER.warning("%s is left out: a %s image cannot be harmonized.", image.path, part)
        elif key in usable:
            twin = usable[key].path
            LOGGER.warning("%s is left out: its output would be that of %s.", image.path, twin)
        else:
            usable[key] = image
            if not image.fetched:
                LOGGER.warning("%s", not_fetched_message(image.path))
    return sorted(usable.values(), key=lambda image: image.path)


def _with_tables(image: SourceImage, layout: Any) -> SourceImage:
    """Add a DWI's b-table."""
    if image.suffix != "dwi":
        return image
    bval, bvec = (_inherited(image, _files(layout, ["dwi"], [ext])) for ext in (".bval", ".bvec"))
    return attrs.evolve(image, bval=bval, bvec=bvec)


def _inherited(image: SourceImage, candidates: Iterable[Path]) -> Path | None:
    """Choose the file that applies to an image by the inheritance principle.

    It lies in the image's folder or above it and has no entity that the image has not; the
    nearest wins.  (pybids' own search also takes a neighbour's file with an entity more.)
    """
    fitting = []
    for path in candidates:
        # A root-level table has no entity at all ("dwi.bval"), which `parse` would refuse.
        pairs = [tuple(pair.split("-", 1)) for pair in path.name.split("_")[:-1]]
        if path.parent in image.path.parents and set(pairs) <= set(image.entities):
            fitting.append((len(path.parts), len(pairs), path))
    return max(fitting)[2] if fitting else None


def _explain(
    subject: str,
    present: list[str],
    sessions: list[str],
    modalities: Sequence[str],
    filters: Filters | None,
) -> None:
    """Say why nothing was found: the question, and what there is."""
    LOGGER.warning(
        "sub-%s: no image for modalities %s, sessions %s, filters %s; there is: %s.",
        subject,
        " ".join(modalities),
        " ".join(sessions) or "any",
        dict(filters) if filters else "none",
        ", ".join(present) or "no T1w, T2w or dwi image at all",
    )
