"""Images without diffusion weighting that go with a series, such as reverse-encoded b=0 images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from attrs import evolve

from bids_ihf.bids.diffusion_weighting import NO_WEIGHTING_ACTION, SINGLE_VOLUME_ACTION
from bids_ihf.io.content_hash import content_hash
from bids_ihf.pipeline.job import Job

COMPANION_ACTION = "intensities of {}"
"""What is done with such an image: it gets the intensities of its series."""

DIRECTION_ENTITY = "dir"
"""Entity in which a reverse-encoded image differs from its series."""


def with_companions(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, those of diffusion series with the images that go with them.

    Such an image belongs to the series of its session whose name differs in the direction alone,
    or to the only series; where neither is, it is passed over as before.
    """
    chosen: dict[int, list[Job]] = {}
    actions: dict[int, str] = {}
    for number, job in enumerate(jobs):
        if job.action in (NO_WEIGHTING_ACTION, SINGLE_VOLUME_ACTION):
            owner = _series_of(job, jobs)
            if owner is not None:
                chosen.setdefault(owner, []).append(job)
                actions[number] = COMPANION_ACTION.format(jobs[owner].name)
    return [
        evolve(
            job,
            action=actions.get(number, job.action),
            companions=tuple(chosen.get(number, ())),
            hash=_hash(job.hash, chosen.get(number, ())),
        )
        for number, job in enumerate(jobs)
    ]


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
