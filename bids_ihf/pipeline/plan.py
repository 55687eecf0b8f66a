"""The jobs of a run: what is to be done with which image, decided before anything is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from attrs import evolve

from bids_ihf.bids.diffusion_weighting import why_not_harmonized
from bids_ihf.bids.images import Problem, SourceImage, output_paths
from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.bids.scanners import UNKNOWN_VENDOR, normalize_vendor
from bids_ihf.config import RunConfig, configuration_hash
from bids_ihf.errors import BadData
from bids_ihf.io.content_hash import content_hash, file_hash
from bids_ihf.pipeline.companions import with_companions
from bids_ihf.pipeline.job import DONE_ACTION, HARMONIZE_ACTION, Job, ResolvedTarget
from bids_ihf.pipeline.longitudinal import share_mappings, warn_of_former_partners

NO_PROFILE_ACTION = "skip: the target has no {}"
REGISTERED_VIA_T1W = ("T2w", "FLAIR", "dwi")
"""Suffixes of the images that are registered by the T1w image of their session."""
T1wBySession = dict[tuple[str, str | None], list[SourceImage]]


def plan(images: Sequence[SourceImage], config: RunConfig, target: ResolvedTarget) -> list[Job]:
    """A job for each image of a selected modality; any T1w image may serve for registration."""
    t1w_images = {} if config.preprocessed else _t1w_by_session(images)
    jobs = []
    for image in images:
        if image.suffix in config.modalities:
            via_t1w = image.suffix in REGISTERED_VIA_T1W
            t1w = _t1w_of(image, t1w_images) if via_t1w else None
            jobs.append(_job(_with_vendor(image, config), config, target, t1w))
    jobs = with_companions(jobs, config)
    if config.longitudinal:
        jobs = share_mappings(jobs)
        warn_of_former_partners(jobs)
    return [evolve(job, action=DONE_ACTION) if job.hash and job.finished else job for job in jobs]


def _t1w_by_session(images: Iterable[SourceImage]) -> T1wBySession:
    """The T1w images of each session that can be used, in the order of their paths."""
    by_session: T1wBySession = defaultdict(list)
    for image in sorted(images, key=lambda image: image.path):
        if image.suffix == "T1w" and image.fetched and not image.problem:
            by_session[image.subject, image.session].append(image)
    return by_session


def _t1w_of(image: SourceImage, by_session: T1wBySession) -> SourceImage | None:
    """The T1w image of an image's session: of its space if possible (derivatives), and of several
    the first, so that the choice never varies."""
    t1w_images = by_session.get((image.subject, image.session), [])
    same_space = [t1w for t1w in t1w_images if t1w.name.get("space") == image.name.get("space")]
    return next(iter(same_space or t1w_images), None)


def _with_vendor(image: SourceImage, config: RunConfig) -> SourceImage:
    """The image with ``--source-vendor`` where its sidecar names none."""
    if image.vendor != UNKNOWN_VENDOR or config.source_vendor is None:
        return image
    return evolve(image, vendor=normalize_vendor(config.source_vendor))


def _job(
    image: SourceImage, config: RunConfig, target: ResolvedTarget, t1w: SourceImage | None
) -> Job:
    paths = output_paths(config.out_dir, image)
    if not target.covers(image.modality):
        if config.modalities == IMAGE_SUFFIXES:
            return Job(image, NO_PROFILE_ACTION.format(image.modality), paths)
        # What was asked for by name is not passed over; a T2w may prove to be FLAIR by contrast.
        if not (image.modality == "T2w" and target.covers("FLAIR")):
            image = evolve(image, problem=image.problem or _no_profile(image, target))
            t1w = None  # nothing is registered
    if image.suffix == "dwi" and image.problem is None:
        reason = why_not_harmonized(image.path, image.bval, config.b0_threshold)
        if reason is not None:
            return Job(image, reason, paths)
    source_hash = content_hash(image.path)
    facts = {
        "vendor": image.vendor,
        "mask": file_hash(image.mask),
        "anchor": t1w.relative if t1w else None,
        "anchor_content": content_hash(t1w.path) if t1w else None,
        "anchor_mask": file_hash(t1w.mask) if t1w else None,
        "content": source_hash,
        "source": target.source_hash,
        "modality": image.modality,
        "problem": image.problem.message if image.problem else None,
    }
    target_hash, model_hash = target.target_hash, target.model_hash
    if image.suffix == "dwi":
        facts |= {"bval": file_hash(image.bval), "bvec": file_hash(image.bvec)}
        target_hash, model_hash = target.diffusion_hash, target.diffusion_model
    identity = configuration_hash(
        config,
        target_hash=target_hash,
        model_hash=model_hash,
        brain_hash=target.brain_hash,
        is_series=image.suffix == "dwi",
        image=facts,
    )
    return Job(image, HARMONIZE_ACTION, paths, identity, t1w, source_hash)


def _no_profile(image: SourceImage, target: ResolvedTarget) -> Problem:
    advice = f"name a target built from {image.modality} images ('ihf target build')"
    message = f"{image.path}: the target {target.name} has no {image.modality} profile; {advice}."
    return Problem(message, BadData)
