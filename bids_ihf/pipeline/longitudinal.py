"""Scans of a person that share one mapping, with ``--longitudinal``."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from attrs import evolve

from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.names import ANATOMICAL_MODALITIES
from bids_ihf.bids.scanners import scanner_label
from bids_ihf.bids.sidecars import read_json
from bids_ihf.pipeline.job import Job, SharedScan
from bids_ihf.pipeline.run_log import NOTICE_LEVEL

LOGGER = logging.getLogger(__name__)

VISIT_ENTITIES = ("ses", "run")
"""Entities in which the names of scans by one protocol differ."""

PROTOCOL_FIELDS = ("RepetitionTime", "EchoTime", "InversionTime", "FlipAngle")
"""Fields of the sidecar that decide on the contrast."""


def share_mappings(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, those of one person, scanner, protocol and modality with a shared mapping.

    Diffusion series, and scans of which nothing names the scanner, are harmonized one by one.
    """
    groups: dict[tuple[object, ...], list[Job]] = {}
    for job in jobs:
        image = job.image
        if image.suffix not in ANATOMICAL_MODALITIES or not job.hash or image.problem:
            continue
        if scanner_label(image.metadata, image.vendor) is None:
            LOGGER.warning(
                "%s is harmonized by itself: its JSON file does not name the scanner.", job.name
            )
            continue
        groups.setdefault(_scanner_and_protocol(image), []).append(job)
    shared: dict[Path, Job] = {}
    for members in groups.values():
        if len(members) < 2:
            continue
        names = ", ".join(job.name for job in members)
        LOGGER.log(NOTICE_LEVEL, "One mapping is shared by %s", names)
        scans = tuple(SharedScan(job.image, job.t1w, job.hash) for job in members)
        shared |= {job.image.path: with_scans(job, scans) for job in members}
    return [shared.get(job.image.path, job) for job in jobs]


def warn_of_former_partners(jobs: Sequence[Job]) -> None:
    """Warn of scans that shared a mapping, in an earlier run, with scans that are not among these:
    those keep the mapping of all, which the others then no longer have."""
    for job in jobs:
        if not job.hash or job.finished:
            continue
        before = read_json(job.sidecar).get("LongitudinalScans")
        own = {scan.image.uri for scan in job.scans} | {job.image.uri}
        left = sorted(set(before) - own) if isinstance(before, list) else []
        if left:
            LOGGER.warning(
                "%s shared a mapping with %s, which this run leaves as they are: they no longer "
                "share it; run all sessions of the participant together.",
                *(job.name, ", ".join(uri.rsplit("/", 1)[-1] for uri in left)),
            )


def _scanner_and_protocol(image: SourceImage) -> tuple[object, ...]:
    fields = (image.metadata.get(name) for name in PROTOCOL_FIELDS)
    numbers = (f"{value:.3g}" if isinstance(value, int | float) else None for value in fields)
    return (
        image.subject,
        image.modality,
        frozenset(image.name.without(*VISIT_ENTITIES)),
        scanner_label(image.metadata, image.vendor),
        *numbers,
    )


def with_scans(job: Job, scans: tuple[SharedScan, ...]) -> Job:
    """A job whose mapping is made of these scans, its own included; the hash is that of all."""
    own = next(scan for scan in scans if scan.image.path == job.image.path)
    if len(scans) == 1:
        return evolve(job, t1w=own.t1w, scans=(), hash=own.hash)
    hashes = " ".join([own.hash, *(scan.hash for scan in scans)])
    identity = hashlib.sha256(hashes.encode()).hexdigest()
    return evolve(job, t1w=own.t1w, scans=scans, hash=identity)


def without_failures(job: Job, failed: Collection[str]) -> Job | None:
    """A job as it can be run after some images could not be prepared, named by their paths.

    Its T1w image, and the other scans that it shares its mapping with, can be done without; None
    where that is not what has kept the job from running, or its own image failed.
    """
    if job.image.relative in failed:
        return None
    scans = job.scans or (SharedScan(job.image, job.t1w, job.hash),)
    usable = tuple(
        evolve(scan, t1w=None) if scan.t1w and scan.t1w.relative in failed else scan
        for scan in scans
        if scan.image.relative not in failed
    )
    return None if usable == scans else with_scans(job, usable)
