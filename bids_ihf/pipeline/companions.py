"""Images without diffusion weighting that go with a series: reverse-encoded b=0 images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from bids_ihf.bids.diffusion_weighting import NO_WEIGHTING_ACTION, SINGLE_VOLUME_ACTION
from bids_ihf.bids.field_maps import epi_images_for
from bids_ihf.bids.images import output_paths
from bids_ihf.config import RunConfig
from bids_ihf.io.content_hash import content_hash
from bids_ihf.pipeline.job import Job

COMPANION_ACTION = "intensities of {}"
"""What is done with such an image: it gets the intensities of its series."""

DIRECTION_ENTITY = "dir"
"""Entity in which a reverse-encoded image differs from its series."""


def with_companions(jobs: Sequence[Job], config: RunConfig) -> list[Job]:
    """The jobs, those of diffusion series with the images that go with them.

    Such an image in ``dwi/`` belongs to the series of its session whose name differs in the
    direction alone, or to the only series; where neither is, it is passed over as before.  One in
    ``fmap/`` belongs to the first series that its sidecar names.
    """
    chosen: dict[int, list[Job]] = {}
    actions: dict[int, str] = {}
    for number, job in enumerate(jobs):
        if job.action in (NO_WEIGHTING_ACTION, SINGLE_VOLUME_ACTION):
            owner = _series_of(job, jobs)
            if owner is not None:
                chosen.setdefault(owner, []).append(job)
                actions[number] = COMPANION_ACTION.format(jobs[owner].name)
    for number, field_maps in _field_maps(jobs, config).items():
        chosen.setdefault(number, []).extend(field_maps)
    return [
        evolve(
            job,
            action=actions.get(number, job.action),
            companions=tuple(chosen.get(number, ())),
            hash=_hash(job.hash, chosen.get(number, ())),
        )
        for number, job in enumerate(jobs)
    ]


def _field_maps(jobs: Sequence[Job], config: RunConfig) -> dict[int, list[Job]]:
    """Images in ``fmap/`` by the number of the series that they go with."""
    found: dict[int, list[Job]] = {}
    taken: set[Path] = set()
    for number, job in sorted(enumerate(jobs), key=lambda item: item[1].image.path):
        if job.image.suffix != "dwi" or not job.hash or job.image.problem:
            continue
        action = COMPANION_ACTION.format(job.name)
        found[number] = [
            Job(image, action, output_paths(config.out_dir, image))
            for image in epi_images_for(job.image)
            if image.path not in taken
        ]
        taken |= {field_map.image.path for field_map in found[number]}
    return found


def _series_of(job: Job, jobs: Sequence[Job]) -> int | None:
    """Number of the series that an image goes with; of several the first."""
    image = job.image
    session = [
        number
        for number, other in enumerate(jobs)
        if other.image.suffix == image.suffix
        and other.hash
        and not other.image.problem
        and (other.image.subject, other.image.session) == (image.subject, image.session)
    ]
    entities = image.name.without(DIRECTION_ENTITY)
    same = [n for n in session if jobs[n].image.name.without(DIRECTION_ENTITY) == entities]
    if same:
        return min(same, key=lambda number: jobs[number].image.path)
    return session[0] if len(session) == 1 else None


def _hash(own: str, companions: Sequence[Job]) -> str:
    """The configuration hash of a series with its companions."""
    if not companions:
        return own
    contents = [str(content_hash(job.image.path)) for job in companions]
    return hashlib.sha256(" ".join([own, *contents]).encode()).hexdigest()
