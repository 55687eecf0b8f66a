"""People scanned on several scanners, as a BIDS dataset has them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path

from attrs import evolve, field, frozen

from bids_ihf.bids.discovery import find_images, select_subjects
from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.names import ANATOMICAL_MODALITIES, Modality
from bids_ihf.bids.scanners import scanner_label
from bids_ihf.errors import NothingSelected, UsageError
from bids_ihf.validation.tables import scanner_by_column

LOGGER = logging.getLogger(__name__)

MIN_TRAVELERS = 2
"""People on two scanners or more without whom nothing is measured: one has to be left out."""

SCANNER_ENTITIES = ("acq", "ses")
"""Entities that name the scanner where no sidecar does; the first one with several values."""

EVERY_SCANNER = "each"
"""Stands for harmonizing to every scanner in turn."""

MAX_SCANNERS_LISTED = 8


@frozen
class Scan:
    """An image of a person by a scanner.

    ``t1w`` is the T1w image of its session, by which a T2w or FLAIR image is registered;
    ``number`` is 0 for the first image of this person by this scanner, and 1, 2, ... for repeats.
    """

    image: SourceImage = field(eq=attrgetter("path"))
    scanner: str
    t1w: SourceImage | None = field(default=None, eq=False)
    number: int = 0

    @property
    def person(self) -> str:
        """Label of the participant, without ``sub-``."""
        return self.image.subject

    @property
    def name(self) -> str:
        """Path in the dataset; unique."""
        return self.image.relative


@frozen(eq=False)
class Study:
    """All scans of one modality whose scanner is known; ``scanner_source`` says how."""

    modality: Modality
    scans: tuple[Scan, ...]
    scanner_source: str

    @property
    def people(self) -> list[str]:
        """Labels of all people, sorted."""
        return sorted({scan.person for scan in self.scans})

    @property
    def scanners(self) -> list[str]:
        """Names of all scanners, sorted."""
        return sorted({scan.scanner for scan in self.scans})

    @property
    def travelers(self) -> list[str]:
        """Labels of the people on two scanners or more, sorted."""
        return travelers_of((scan.person, scan.scanner) for scan in self.scans)

    def usual_scanner(self) -> str:
        """The scanner with most people; of several, the first by name."""
        pairs = {(scan.person, scan.scanner) for scan in self.scans}
        count = Counter(scanner for _, scanner in pairs)
        return min(self.scanners, key=lambda scanner: -count[scanner])


def travelers_of(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """People who were on two scanners or more, from pairs of person and scanner.

    >>> travelers_of([("01", "GE"), ("01", "Siemens"), ("02", "GE"), ("02", "GE")])
    ['01']
    """
    count = Counter(person for person, _ in set(pairs))
    return sorted(person for person, scanners in count.items() if scanners > 1)


def find_studies(
    bids_dir: Path,
    *,
    modalities: Sequence[Modality] = ANATOMICAL_MODALITIES,
    labels: Sequence[str] = (),
    scanner_column: str | None = None,
    derivatives: Sequence[Path] = (),
) -> list[Study]:
    """A study for each modality with people on several scanners.

    Parameters
    ----------
    bids_dir
        Root of the dataset.
    modalities
        Suffixes of the images.
    labels
        Participants; none means all.
    scanner_column
        Column of participants.tsv, ``_sessions.tsv`` or ``_scans.tsv`` that names the scanner.  By
        default it is named by the sidecars, and by an entity of the file names where these do not.
    derivatives
        Folders to search for brain masks.

    Raises
    ------
    UsageError
        No table has the column.
    NothingSelected
        No modality has MIN_TRAVELERS people on two scanners.
    """
    images = [
        image
        for subject in select_subjects(bids_dir, labels)
        for image in find_images(
            bids_dir,
            subject,
            modalities=tuple(dict.fromkeys([*modalities, "T1w"])),
            derivatives=derivatives,
        )
    ]
    usable = [image for image in images if not _is_left_out(image)]
    studies = [_study(usable, modality, bids_dir, scanner_column) for modality in modalities]
    selected = [study for study in studies if len(study.travelers) >= MIN_TRAVELERS]
    if selected:
        return selected
    if scanner_column and not any(study.scans for study in studies):
        raise UsageError(
            f"{bids_dir}: no participants.tsv, _sessions.tsv or _scans.tsv names the scanner in a "
            f"column {scanner_column}; check --scanner-column."
        )
    raise NothingSelected(_no_travelers(bids_dir, studies))


def _is_left_out(image: SourceImage) -> bool:
    """Whether an image cannot be used; says why."""
    if image.problem:
        LOGGER.warning("Left out: %s", image.problem.message)
    return image.problem is not None or not image.fetched


def _no_travelers(bids_dir: Path, studies: Sequence[Study]) -> str:
    study = max(studies, key=lambda study: (len(study.travelers), len(study.scans)))
    scanners = study.scanners
    listed = ", ".join(scanners[:MAX_SCANNERS_LISTED]) or "none"
    return (
        f"{bids_dir}: {len(study.travelers)} of {len(study.people)} people were scanned on two "
        f"scanners or more ({study.modality}; scanners: {listed}), and at least "
        f"{MIN_TRAVELERS} are needed; name the scanner with --scanner-column if the JSON files do "
        "not tell it."
    )


def _study(
    images: Sequence[SourceImage], modality: Modality, bids_dir: Path, column: str | None
) -> Study:
    """The scans of one modality with their scanners, repeats numbered in the order of names."""
    chosen = [image for image in images if image.modality == modality]
    name_of, source = _naming(chosen, bids_dir, column)
    t1w = {(i.subject, i.session): i for i in reversed(images) if i.suffix == "T1w"}
    scans = []
    for image in chosen:
        scanner = name_of(image)
        if scanner is None:
            LOGGER.warning("%s is left out: nothing names its scanner.", image.relative)
            continue
        reference = None if modality == "T1w" else t1w.get((image.subject, image.session))
        scans.append(Scan(image, scanner, reference))
    return Study(modality, tuple(numbered(scans)), source)


def numbered(scans: Iterable[Scan]) -> Iterator[Scan]:
    """Scans with the repeats of a person by a scanner numbered in their order."""
    count: Counter[tuple[str, str]] = Counter()
    for scan in scans:
        yield evolve(scan, number=count[scan.person, scan.scanner])
        count[scan.person, scan.scanner] += 1


def _naming(
    images: Sequence[SourceImage], bids_dir: Path, column: str | None
) -> tuple[Callable[[SourceImage], str | None], str]:
    """How to name the scanner of an image, and in words."""
    if column is not None:
        by_column = scanner_by_column(bids_dir, images, column)
        return lambda image: by_column.get(image.relative), f"column {column}"
    if any(_by_sidecar(image) for image in images):
        return _by_sidecar, "vendor, model, field strength and serial number in the JSON files"
    for entity in SCANNER_ENTITIES:
        if len({image.name.get(entity) for image in images} - {None}) > 1:
            return partial(_by_entity, entity), f"entity {entity} of the file names"
    return _by_sidecar, "JSON files"


def _by_entity(entity: str, image: SourceImage) -> str | None:
    return image.name.get(entity)


def _by_sidecar(image: SourceImage) -> str | None:
    return scanner_label(image.metadata, image.vendor)
