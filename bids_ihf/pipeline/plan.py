"""What is to be done to which image, decided before anything is done."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import evolve, frozen

from bids_ihf.bids.images import OutputPaths, SourceImage, output_paths, sidecar_path
from bids_ihf.bids.sidecars import is_finished
from bids_ihf.bids.vendors import UNKNOWN_VENDOR, normalize_vendor
from bids_ihf.config import RunConfig, configuration_hash

HARMONIZE = "harmonize"
DONE = "skip: done"
NO_PROFILE = "skip: the target has no {}"
ANY = "any"
"""Modality of a target that serves all but diffusion."""
DIFFUSION_MODEL = "diffusion shells 2"
"""What harmonizes diffusion series: numbers per shell and no network."""
LEANING = ("T2w", "dwi")
"""Suffixes of the images that are aligned to the T1w image of their session."""


@frozen
class Goal:
    """The target and the model of a run, by what identifies them."""

    name: str
    target_hash: str
    model_name: str
    model_hash: str
    brain_hash: str
    modalities: tuple[str, ...]
    diffusion_hash: str = ""
    """Of the target's diffusion profile; empty where it has none."""
    source_hash: str = ""
    """Of what is known of the images' own scanners."""
    encoder_hash: str = ""
    """Of the encoder whose statistics target and model are made of."""

    def covers(self, suffix: str) -> bool:
        """Whether images of this suffix can be harmonized."""
        if suffix == "dwi":
            return bool(self.diffusion_hash)
        return suffix in self.modalities or ANY in self.modalities


@frozen
class Task:
    """One image, what becomes of it, where to, and the T1w image it leans on if it has one."""

    image: SourceImage
    action: str
    outputs: OutputPaths
    hash: str = ""
    anchor: SourceImage | None = None

    @property
    def name(self) -> str:
        """File name without extension, as used in nodes and messages."""
        return self.image.path.name.split(".")[0]

    @property
    def sidecar(self) -> Path:
        """The file that is written last."""
        return sidecar_path(self.outputs.harmonized)

    @property
    def finished(self) -> bool:
        """Whether the outputs of just this configuration are there."""
        return is_finished(self.sidecar, self.hash)


def plan(images: Sequence[SourceImage], config: RunConfig, goal: Goal) -> list[Task]:
    """A task for each image of a selected modality; any T1w image may serve as anchor."""
    anchors = _anchors(images, config)
    tasks = []
    for image in images:
        if image.suffix in config.modalities:
            leans = image.suffix in LEANING
            anchor = anchors.get((image.subject, image.session)) if leans else None
            tasks.append(_task(_with_vendor(image, config), config, goal, anchor))
    return tasks


def _anchors(
    images: Iterable[SourceImage], config: RunConfig
) -> dict[tuple[str, str | None], SourceImage]:
    """The T1w image of each session: the first by name, so that the choice never varies."""
    found: dict[tuple[str, str | None], list[SourceImage]] = defaultdict(list)
    if not config.preprocessed:
        for image in images:
            if image.suffix == "T1w" and image.fetched:
                found[image.subject, image.session].append(image)
    return {key: min(group, key=lambda image: image.path) for key, group in found.items()}


def _with_vendor(image: SourceImage, config: RunConfig) -> SourceImage:
    """The image with ``--source-vendor`` where its sidecar names none."""
    if image.vendor != UNKNOWN_VENDOR or config.source_vendor is None:
        return image
    return evolve(image, vendor=normalize_vendor(config.source_vendor))


def _task(image: SourceImage, config: RunConfig, goal: Goal, anchor: SourceImage | None) -> Task:
    names = output_paths(config.out_dir, image)
    if not goal.covers(image.suffix):
        return Task(image, NO_PROFILE.format(image.suffix), names)
    facts = {
        "vendor": image.vendor,
        "mask": _digest(image.mask),
        "anchor": anchor.relative if anchor else None,
        "anchor_mask": _digest(anchor.mask) if anchor else None,
        "bytes": _size(image.path),
        "source": goal.source_hash,
    }
    target_hash, model_hash = goal.target_hash, goal.model_hash
    if image.suffix == "dwi":
        facts |= {"bval": _digest(image.bval), "bvec": _digest(image.bvec)}
        target_hash, model_hash = goal.diffusion_hash, DIFFUSION_MODEL
    identity = configuration_hash(
        config,
        target_hash=target_hash,
        model_hash=model_hash,
        brain_hash=goal.brain_hash,
        image=facts,
    )
    task = Task(image, HARMONIZE, names, identity, anchor)
    return evolve(task, action=DONE) if task.finished else task


def _digest(path: Path | None) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else None
    except OSError:
        return None


def _size(path: Path) -> int | None:
    """Size of the source in bytes: tells, at no cost, a file that was converted anew."""
    try:
        return path.stat().st_size
    except OSError:
        return None
