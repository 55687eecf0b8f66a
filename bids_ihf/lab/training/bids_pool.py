"""A pool of a user's own scans: unpaired, told apart by the maker of their scanner.

Every person has a folder in the pool that is a pool of its own, so that after an interruption the
next run goes on with the next person, and only people whose files changed are prepared again.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from bids_ihf.bids.discovery import find_images, list_subjects, select_subjects
from bids_ihf.bids.vendors import UNKNOWN_VENDOR
from bids_ihf.errors import BadData, HarmonyError, UsageError
from bids_ihf.io.atomic import make_folder, remove
from bids_ihf.lab.training.scan_pool import ScanPool, add_scan, read_index, write_index
from bids_ihf.pipeline.process import set_up_process
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

SUBJECT_FILE_PATTERNS = ("index.json", "*_scan.npy", "*_mask.npy")
"""Files of a person in the pool, the index first: without it the others count for nothing."""


def prepare_pool(config: TrainConfig) -> ScanPool:
    """The pool of a BIDS dataset: what is there and still true is kept, the rest prepared.

    Left out with a warning: a scan that cannot be used, one whose sidecar names no manufacturer,
    and a modality that only one site has.

    Raises
    ------
    UsageError
        There is no such dataset, or the pool would lie in its root.
    InvalidBIDS
        A sidecar cannot be read.
    BadData
        Fewer than two sites are left to learn from.
    """
    source, folder = config.data.source, config.data.pool
    if folder.resolve() == source.resolve():
        raise UsageError(f"{folder}: the pool is the dataset itself; name another folder.")
    set_up_process(config.threads, 0)
    found = {
        person: _images(config, person) for person in select_subjects(source, config.data.people)
    }
    # Told before hours are spent on preparing.
    wanted = [image for images in found.values() for image in images if _wanted(config, image)]
    _comparable(source, [(image.suffix, site_of(image)) for image in wanted])
    _forget(folder, set(list_subjects(source)))
    scans = [scan for person, images in found.items() for scan in _scans(config, person, images)]
    kept = _comparable(source, [(scan.modality, scan.site) for scan in scans])
    return ScanPool(folder, tuple(scan for scan in scans if scan.modality in kept))


def site_of(image: SourceImage) -> str:
    """The site a scan comes from: its vendor, or what its sidecar calls one; empty if nothing."""
    if image.vendor != UNKNOWN_VENDOR:
        return image.vendor
    return " ".join(re.findall("[0-9A-Za-z]+", str(image.metadata.get("Manufacturer") or "")))


def _images(config: TrainConfig, person: str) -> list[SourceImage]:
    """A person's images, by session: those wanted, and before a T2w the T1w that it leans on."""
    wanted = config.data.modalities
    asked = ("T1w", "T2w") if "T2w" in wanted else wanted
    images = find_images(config.data.source, person, modalities=asked)
    for image in images:
        if image.suffix in wanted and not site_of(image):
            LOGGER.warning(
                "Left out: %s has no Manufacturer in its sidecar, so its site is not known.",
                image.path,
            )
    leaning = {image.session for image in images if image.suffix == "T2w"}
    chosen = [image for image in images if image.suffix in wanted or image.session in leaning]
    return sorted(chosen, key=lambda image: (image.session or "", image.suffix, image.path))


def _wanted(config: TrainConfig, image: SourceImage) -> bool:
    return image.suffix in config.data.modalities and bool(site_of(image))


def _comparable(source: Path, scans: Iterable[tuple[str, str]]) -> set[str]:
    """Modalities that two sites at least have, from the (modality, site) of every scan."""
    sites: dict[str, set[str]] = {}
    for modality, site in scans:
        sites.setdefault(modality, set()).add(site)
    kept = {modality for modality, names in sites.items() if len(names) > 1}
    if not kept:
        names = ", ".join(sorted(set().union(*sites.values()))) or "none"
        raise BadData(
            f"{source}: usable scans of one modality come from fewer than two manufacturers "
            f"({names}); training needs two at least."
        )
    for modality in sorted(set(sites) - kept):
        LOGGER.warning("Left out: all %s, which come from one site only.", modality)
    return kept


def _scans(config: TrainConfig, person: str, images: Sequence[SourceImage]) -> list[PoolScan]:
    """A person's scans, prepared unless their folder in the pool still tells of the same files."""
    folder, record = config.data.pool / f"sub-{person}", _record(config, images)
    pool = read_index(folder, record)
    if pool is None:
        _clear(folder)
        make_folder(folder)
        pool = write_index(folder, _prepare(config, folder, images), record)
        LOGGER.info("Prepared sub-%s: %d scans", person, len(pool.scans))
    elif len(pool.scans) < sum(_wanted(config, image) for image in images):
        LOGGER.warning(
            "Some scans of sub-%s were left out; to try again, delete %s", person, folder
        )
    return [
        attrs.evolve(scan, person=person, file=f"{folder.name}/{scan.file}") for scan in pool.scans
    ]


def _record(config: TrainConfig, images: Iterable[SourceImage]) -> dict[str, Any]:
    """What a person's scans were made from; another record means they are prepared again."""
    return {
        "preprocessed": config.data.preprocessed,
        "modalities": list(config.data.modalities),
        "images": [[image.relative, *_state(image.path), site_of(image)] for image in images],
    }


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change (ns) of a file; zeros for a link to nothing."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _forget(pool: Path, people: set[str]) -> None:
    """Delete what the pool holds of people who are no longer in the dataset."""
    for folder in pool.glob("sub-*"):
        if folder.name.removeprefix("sub-") not in people:
            _clear(folder)


def _clear(folder: Path) -> None:
    for pattern in SUBJECT_FILE_PATTERNS:
        for path in folder.glob(pattern):
            remove(path)
    with suppress(OSError):
        folder.rmdir()


def _prepare(config: TrainConfig, folder: Path, images: Iterable[SourceImage]) -> list[PoolScan]:
    """Prepare a person's images as the BIDS App does and write them to the pool."""
    anchor: tuple[str | None, Prepared] | None = None
    scans = []
    for image in images:
        known = anchor is not None and anchor[0] == image.session
        if image.suffix == "T1w" and known and not _wanted(config, image):
            continue
        try:
            prepared = prepare(
                image.path,
                modality=image.suffix,
                preprocessed=config.data.preprocessed,
                t1w_reference=anchor[1] if anchor and known else None,
            )
            if image.suffix == "T1w" and not known:
                anchor = image.session, prepared
            if _wanted(config, image):
                scans.append(_add(folder, image, prepared))
        except HarmonyError as error:
            LOGGER.warning("Left out: %s", error)
    return scans


def _add(folder: Path, image: SourceImage, prepared: Prepared) -> PoolScan:
    try:
        on_grid = to_network_input(prepared)
    except ValueError as error:
        raise BadData(f"{image.path}: {error}; check the image and its mask.") from error
    # A person may have many scans of one site, so the array is named after the scan's file.
    return add_scan(
        folder,
        on_grid,
        person=image.path.name.split(".")[0],
        site=site_of(image),
        vendor=site_of(image),
        modality=image.suffix,
    )
