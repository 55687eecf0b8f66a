"""A pool of a user's own scans: unpaired, grouped by the manufacturer of the scanner.

Each subject has a folder in the pool that is a pool by itself, so that an interrupted run resumes
with the next subject, and only subjects whose files changed are prepared again.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from bids_ihf.bids.discovery import find_images, list_subjects, select_subjects
from bids_ihf.bids.names import ANATOMICAL_MODALITIES
from bids_ihf.bids.scanners import UNKNOWN_VENDOR
from bids_ihf.errors import BadData, HarmonyError, UsageError
from bids_ihf.io.atomic import make_folder, remove
from bids_ihf.lab.training.scan_pool import (
    INDEX_FILE,
    ScanPool,
    add_scan,
    read_index,
    write_index,
)
from bids_ihf.pipeline.process import single_threaded
from bids_ihf.preprocessing.itk import configure_itk
from bids_ihf.preprocessing.prepare import prepare
from bids_ihf.targets.network_input import to_network_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bids_ihf.bids.images import SourceImage
    from bids_ihf.lab.training.scan_pool import PoolScan
    from bids_ihf.lab.training.training_config import TrainConfig
    from bids_ihf.preprocessing.prepare import Prepared

LOGGER = logging.getLogger(__name__)

SUBJECT_FILE_PATTERNS = (INDEX_FILE, "*_scan.npy", "*_mask.npy")
"""Files of a subject in the pool, the index first: without it the others are ignored."""


@single_threaded()
def prepare_pool(config: TrainConfig) -> ScanPool:
    """The pool of a BIDS dataset: what is up to date is kept, the rest is prepared.

    Omitted with a warning: a scan that cannot be used, one whose sidecar names no manufacturer,
    and a modality that only one site has.

    Raises
    ------
    UsageError
        There is no such dataset, or the pool would lie in its root.
    InvalidBIDS
        A sidecar cannot be read.
    BadData
        Fewer than two sites remain.
    """
    source, folder = config.data.source, config.data.pool
    if folder.resolve() == source.resolve():
        raise UsageError(f"{folder}: the pool is the dataset itself; name another folder.")
    configure_itk()
    images = {
        subject: _subject_images(config, subject)
        for subject in select_subjects(source, config.data.people)
    }
    # Checked before hours are spent on preparing.
    requested = [i for subject in images for i in images[subject] if _is_requested(config, i)]
    _modalities_of_two_sites(source, [(image.suffix, site_of(image)) for image in requested])
    _remove_other_subjects(folder, set(list_subjects(source)))
    scans = [scan for subject in images for scan in _scans(config, subject, images[subject])]
    usable = _modalities_of_two_sites(source, [(scan.modality, scan.site) for scan in scans])
    return ScanPool(folder, tuple(scan for scan in scans if scan.modality in usable))


def site_of(image: SourceImage) -> str:
    """Site of a scan: its vendor, or else the Manufacturer of its sidecar; empty without one."""
    if image.vendor != UNKNOWN_VENDOR:
        return image.vendor
    return " ".join(re.findall("[0-9A-Za-z]+", str(image.metadata.get("Manufacturer") or "")))


def _subject_images(config: TrainConfig, subject: str) -> list[SourceImage]:
    """A subject's images by session: those requested, and the T1w by which a T2w is registered."""
    requested = config.data.anatomical
    searched = ANATOMICAL_MODALITIES if "T2w" in requested else requested
    present = find_images(config.data.source, subject, modalities=searched)
    images = [image for image in present if not image.problem]  # which has been logged
    for image in images:
        if image.suffix in requested and not site_of(image):
            LOGGER.warning(
                "Omitted: the sidecar of %s has no Manufacturer, so its site is unknown.",
                image.path,
            )
    t2w_sessions = {image.session for image in images if image.suffix == "T2w"}
    needed = [i for i in images if i.suffix in requested or i.session in t2w_sessions]
    return sorted(needed, key=lambda image: (image.session or "", image.suffix, image.path))


def _is_requested(config: TrainConfig, image: SourceImage) -> bool:
    return image.suffix in config.data.anatomical and bool(site_of(image))


def _modalities_of_two_sites(source: Path, scans: Iterable[tuple[str, str]]) -> set[str]:
    """Modalities that at least two sites have, from the (modality, site) of every scan."""
    sites: dict[str, set[str]] = {}
    for modality, site in scans:
        sites.setdefault(modality, set()).add(site)
    usable = {modality for modality, names in sites.items() if len(names) > 1}
    if not usable:
        names = ", ".join(sorted(set().union(*sites.values()))) or "none"
        raise BadData(
            f"{source}: the usable scans of each modality come from fewer than two manufacturers "
            f"({names}); training needs at least two."
        )
    for modality in sorted(set(sites) - usable):
        LOGGER.warning("Omitted: all %s, which come from one site only.", modality)
    return usable


def _scans(config: TrainConfig, subject: str, images: Sequence[SourceImage]) -> list[PoolScan]:
    """A subject's scans, prepared unless their folder in the pool has the same record."""
    folder, record = config.data.pool / f"sub-{subject}", _record(config, images)
    pool = read_index(folder, record)
    if pool is None:
        _remove_subject(folder)
        make_folder(folder)
        pool = write_index(folder, _prepare(config, folder, images), record)
        LOGGER.info("Prepared sub-%s: %d scans", subject, len(pool.scans))
    elif len(pool.scans) < sum(_is_requested(config, image) for image in images):
        LOGGER.warning(
            "Some scans of sub-%s were omitted; to try again, delete %s", subject, folder
        )
    return [
        attrs.evolve(scan, subject=subject, file=f"{folder.name}/{scan.file}")
        for scan in pool.scans
    ]


def _record(config: TrainConfig, images: Iterable[SourceImage]) -> dict[str, Any]:
    """Description of what a subject's scans were made of; they are reused while it stays."""
    return {
        "preprocessed": config.data.preprocessed,
        "modalities": list(config.data.modalities),
        "images": [
            [image.relative, *_size_and_mtime(image.path), site_of(image)] for image in images
        ],
    }


def _size_and_mtime(path: Path) -> tuple[int, int]:
    """Size and time of modification (ns) of a file; zeros for a dangling link."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _remove_other_subjects(pool: Path, subjects: set[str]) -> None:
    """Delete subjects from the pool that are no longer in the dataset."""
    for folder in pool.glob("sub-*"):
        if folder.name.removeprefix("sub-") not in subjects:
            _remove_subject(folder)


def _remove_subject(folder: Path) -> None:
    for pattern in SUBJECT_FILE_PATTERNS:
        for path in folder.glob(pattern):
            remove(path)
    with suppress(OSError):
        folder.rmdir()


def _prepare(config: TrainConfig, folder: Path, images: Iterable[SourceImage]) -> list[PoolScan]:
    """Preprocess a subject's images as the BIDS App does and write them to the pool."""
    reference: tuple[str | None, Prepared] | None = None  # session and T1w
    scans = []
    for image in images:
        has_reference = reference is not None and reference[0] == image.session
        if image.suffix == "T1w" and has_reference and not _is_requested(config, image):
            continue
        try:
            prepared = prepare(
                image.path,
                modality=image.suffix,
                preprocessed=config.data.preprocessed,
                t1w_reference=reference[1] if reference and has_reference else None,
            )
            if image.suffix == "T1w" and not has_reference:
                reference = image.session, prepared
            if _is_requested(config, image):
                scans.append(_add(folder, image, prepared))
        except HarmonyError as error:
            LOGGER.warning("Omitted: %s", error)
    return scans


def _add(folder: Path, image: SourceImage, prepared: Prepared) -> PoolScan:
    try:
        on_grid = to_network_input(prepared, image.suffix)
    except ValueError as error:
        raise BadData(f"{image.path}: {error}; check the image and its mask.") from error
    # A subject may have several scans of one site, so the array is named after the scan's file.
    return add_scan(
        folder,
        on_grid,
        subject=image.path.name.split(".")[0],
        site=site_of(image),
        vendor=site_of(image),
        modality=image.suffix,
    )
