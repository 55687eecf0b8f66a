"""The reference images of a target: found in datasets or named one by one, then prepared."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf.errors import NothingSelected, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bids_ihf.spatial.prepare import Prepared

LOGGER = logging.getLogger(__name__)


@frozen
class Reference:
    """A reference image; ``anchor`` is the T1w image of the same session, for a T2w image."""

    path: Path
    modality: str
    anchor: Path | None = None


def collect(
    references: Sequence[Path],
    *,
    modality: str | None = None,
    labels: Sequence[str] = (),
    filter_file: Path | None = None,
) -> list[Reference]:
    """Images to build a target from; in datasets, ``modality`` selects.

    Raises
    ------
    UsageError
        A reference is neither an image nor a folder.
    NothingSelected
        No image is left.
    """
    found: list[Reference] = []
    for path in references:
        if path.is_dir():
            found += _in_dataset(path, modality, labels, filter_file)
        elif path.name.endswith((".nii", ".nii.gz")):
            from bids_ihf.targets.build import modality_of

            found.append(Reference(path, modality or modality_of(path)))
        else:
            raise UsageError(f"{path}: neither a NIfTI image nor a folder; check the name.")
    if not found:
        names = " ".join(map(str, references))
        raise NothingSelected(
            f"{names}: no {modality or 'T1w or T2w'} image is left; select more."
        )
    return found


def _in_dataset(
    folder: Path, modality: str | None, labels: Sequence[str], filter_file: Path | None
) -> list[Reference]:
    from bids_ihf.bids.discover import find_images, select_subjects
    from bids_ihf.bids.filters import read_filters

    filters = read_filters(filter_file) if filter_file else None
    found = []
    for subject in select_subjects(folder, labels):
        images = find_images(folder, subject, modalities=("T1w", "T2w"), filters=filters)
        anchors = {image.session: image.path for image in images if image.suffix == "T1w"}
        for image in images:
            anchor = anchors.get(image.session) if image.suffix == "T2w" else None
            if modality in (None, image.suffix):
                found.append(Reference(image.path, image.suffix, anchor))
    return found


def prepared_scans(
    references: Sequence[Reference], *, preprocessed: bool
) -> Iterator[tuple[str, Prepared]]:
    """Each reference prepared, one at a time, so that only one lies in memory."""
    from tqdm import tqdm

    from bids_ihf.spatial.prepare import prepare

    quiet = not sys.stderr.isatty()
    for reference in tqdm(references, unit="image", disable=quiet):
        LOGGER.info("%s: preparing", reference.path)
        # Targets with both modalities need the T1w of a session twice; holding one is enough.
        anchor = reference.anchor
        base = (
            prepare(anchor, modality="T1w", preprocessed=preprocessed)
            if anchor and not preprocessed
            else None
        )
        modality = "T1w" if reference.modality == "any" else reference.modality
        prepared = prepare(
            reference.path, modality=modality, preprocessed=preprocessed, anchor=base
        )
        yield reference.modality, prepared
