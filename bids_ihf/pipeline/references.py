"""The reference images of a target: found in datasets or named one by one, then prepared."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf.errors import NothingSelected, UsageError
from bids_ihf.io.paths import is_nifti_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bids_ihf.dwi.profile import DiffusionProfile
    from bids_ihf.preprocessing.prepare import Prepared

LOGGER = logging.getLogger(__name__)


@frozen
class Reference:
    """A reference image; ``anchor`` is the T1w image of the same session, for a T2w image or a
    diffusion series; ``tables`` are the .bval and .bvec of the latter."""

    path: Path
    modality: str
    anchor: Path | None = None
    tables: tuple[Path | None, Path | None] = (None, None)


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
        elif is_nifti_name(path):
            found.append(_single(path, modality))
        else:
            raise UsageError(f"{path}: neither a NIfTI image nor a folder; check the name.")
    if not found:
        names = " ".join(map(str, references))
        raise NothingSelected(
            f"{names}: no {modality or 'T1w, T2w or dwi'} image is left; select more."
        )
    return found


def _single(path: Path, modality: str | None) -> Reference:
    from bids_ihf.bids.images import gradient_table_paths
    from bids_ihf.targets.build import modality_from_name

    kind = modality or modality_from_name(path)
    if kind != "dwi":
        return Reference(path, kind)
    bval, bvec = (table if table.is_file() else None for table in gradient_table_paths(path))
    return Reference(path, kind, tables=(bval, bvec))


def _in_dataset(
    folder: Path, modality: str | None, labels: Sequence[str], filter_file: Path | None
) -> list[Reference]:
    from bids_ihf.bids.discovery import find_images, select_subjects
    from bids_ihf.bids.filters import read_filters

    filters = read_filters(filter_file) if filter_file else None
    found = []
    for subject in select_subjects(folder, labels):
        images = find_images(folder, subject, filters=filters)
        anchors = {image.session: image.path for image in images if image.suffix == "T1w"}
        for image in images:
            anchor = None if image.suffix == "T1w" else anchors.get(image.session)
            if modality in (None, image.suffix):
                tables = image.bval, image.bvec
                found.append(Reference(image.path, image.suffix, anchor, tables))
    return found


def prepared_scans(
    references: Sequence[Reference], *, preprocessed: bool
) -> Iterator[tuple[str, Prepared]]:
    """Each reference prepared, one at a time, so that only one lies in memory."""
    for reference in _shown(references):
        yield reference.modality, _prepared(reference, reference.path, preprocessed)


def diffusion_profiles(
    references: Sequence[Reference], *, preprocessed: bool
) -> list[DiffusionProfile]:
    """The profile of each reference that is a diffusion series.

    Raises
    ------
    BadData
        A series or its b-table cannot be used.
    """
    from bids_ihf.dwi.series import fit_series, mean_b0_image

    found = []
    with TemporaryDirectory(prefix="ihf-target-") as folder:
        for reference in _shown(references):
            path, tables = reference.path, reference.tables
            with mean_b0_image(path, tables, Path(folder)) as mean:
                prepared = _prepared(reference, mean, preprocessed)
            found.append(fit_series(path, tables, prepared).profile)
    return found


def _shown(references: Sequence[Reference]) -> Iterator[Reference]:
    from tqdm import tqdm

    for reference in tqdm(references, unit="image", disable=not sys.stderr.isatty()):
        LOGGER.info("%s: preparing", reference.path)
        yield reference


def _prepared(reference: Reference, scan: Path, preprocessed: bool) -> Prepared:
    """What the participant level would prepare; ``scan`` stands for the reference."""
    from bids_ihf.preprocessing.prepare import prepare

    # Targets with several modalities need the T1w of a session twice; holding one is enough.
    anchor = reference.anchor
    base = (
        prepare(anchor, modality="T1w", preprocessed=preprocessed)
        if anchor and not preprocessed
        else None
    )
    modality = "T1w" if reference.modality == "any" else reference.modality
    return prepare(scan, modality=modality, preprocessed=preprocessed, t1w_reference=base)
