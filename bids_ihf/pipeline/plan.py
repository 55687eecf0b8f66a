"""The jobs of a run: what is to be done with which image, decided before anything is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import evolve, frozen

from bids_ihf.bids.diffusion_weighting import why_not_harmonized
from bids_ihf.bids.images import OutputPaths, Problem, SourceImage, output_paths, sidecar_path
from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.bids.sidecars import is_finished
from bids_ihf.bids.vendors import UNKNOWN_VENDOR, normalize_vendor
from bids_ihf.config import RunConfig, configuration_hash
from bids_ihf.dwi.outputs import DIFFUSION_MODEL, MATCHED_MODEL
from bids_ihf.errors import BadData
from bids_ihf.io.content_hash import content_hash, file_hash
from bids_ihf.io.paths import file_stem
from bids_ihf.pipeline.companions import with_companions
from bids_ihf.pipeline.longitudinal import SharedScan, share_mappings

HARMONIZE_ACTION = "harmonize"
DONE_ACTION = "skip: done"
NO_PROFILE_ACTION = "skip: the target has no {}"
ANY_MODALITY = "any"
"""Modality of a target that serves all but diffusion."""
REGISTERED_VIA_T1W = ("T2w", "FLAIR", "dwi")
"""Suffixes of the images that are registered by the T1w image of their session."""
T1wBySession = dict[tuple[str, str | None], list[SourceImage]]


@frozen
class ResolvedTarget:
    """What ``--target``, ``--model`` and ``--source-profile`` stand for in a run.

    Attributes
    ----------
    spec
        Vendor or file from which a worker process loads the target.
    name, target_hash, model_name, model_hash
        For the provenance of an image.
    brain_hash, encoder_hash, source_hash
        Hashes of the segmentation network, of the encoder, and of the source profiles.
    modalities
        Modalities that the target has a profile for; ``any`` serves all but diffusion.
    diffusion_hash
        Hash of the target's diffusion profile; empty where it has none.
    map_network
        Whether the network harmonizes the maps of diffusion series.
    matched
        Whether source profile and target hold harmonics of matched people.
    """

    spec: str
    name: str
    target_hash: str
    model_name: str
    model_hash: str
    brain_hash: str
    modalities: tuple[str, ...]
    diffusion_hash: str = ""
    source_hash: str = ""
    encoder_hash: str = ""
    map_network: bool = False
    matched: bool = False

    @property
    def diffusion_model(self) -> str:
        """What harmonizes diffusion series: the shell model, and the network or the harmonics of
        matched people where they can."""
        names = [DIFFUSION_MODEL]
        if self.map_network:
            names.append(self.model_hash)
        if self.matched:
            names.append(MATCHED_MODEL)
        if len(names) > 1:
            names.append(self.target_hash)
        return ", ".join(names)

    def covers(self, modality: str) -> bool:
        """Whether images of this modality can be harmonized."""
        if modality == "dwi":
            return bool(self.diffusion_hash)
        return modality in self.modalities or ANY_MODALITY in self.modalities


@frozen
class Job:
    """One image, what is to be done with it, and where the results go.

    Attributes
    ----------
    image
        The image.
    action
        ``harmonize``, or why it is skipped.
    outputs
        Paths of all that is derived from it.
    hash
        Configuration hash: of all that the numbers of the outputs depend on.
    t1w
        T1w image of the same session by which the image is registered, if any.
    source_hash
        Hash of the content of the image.
    scans
        All scans that share a mapping with it, itself included, in an order that is the same for
        each of them; empty where it has its own.
    companions
        Of a diffusion series, the images without weighting that get its intensities.
    """

    image: SourceImage
    action: str
    outputs: OutputPaths
    hash: str = ""
    t1w: SourceImage | None = None
    source_hash: str | None = None
    scans: tuple[SharedScan, ...] = ()
    companions: tuple[Job, ...] = ()

    @property
    def name(self) -> str:
        """File name without extension, as used in messages."""
        return file_stem(self.image.path)

    @property
    def sidecar(self) -> Path:
        """The file that is written last."""
        return sidecar_path(self.outputs.harmonized)

    @property
    def finished(self) -> bool:
        """Whether the outputs of just this configuration exist."""
        return is_finished(self.sidecar, self.hash)


def plan(images: Sequence[SourceImage], config: RunConfig, target: ResolvedTarget) -> list[Job]:
    """A job for each image of a selected modality; any T1w image may serve for registration."""
    t1w_images = {} if config.preprocessed else _t1w_by_session(images)
    jobs = []
    for image in images:
        if image.suffix in config.modalities:
            via_t1w = image.suffix in REGISTERED_VIA_T1W
            t1w = _t1w_of(image, t1w_images) if via_t1w else None
            jobs.append(_job(_with_vendor(image, config), config, target, t1w))
    jobs = with_companions(jobs)
    if config.longitudinal:
        jobs = share_mappings(jobs)
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
        image=facts,
    )
    return Job(image, HARMONIZE_ACTION, paths, identity, t1w, source_hash)


def _no_profile(image: SourceImage, target: ResolvedTarget) -> Problem:
    advice = f"name a target built from {image.modality} images ('ihf target build')"
    message = f"{image.path}: the target {target.name} has no {image.modality} profile; {advice}."
    return Problem(message, BadData)
