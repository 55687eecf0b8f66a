"""What a run works with: its images, its device, its target and network."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from bids_ihf.config import to_toml
from bids_ihf.errors import BadData, NothingSelected
from bids_ihf.pipeline.plan import LEANING, Goal
from bids_ihf.pipeline.run_log import NOTICE
from bids_ihf.pipeline.worker import Settings, fix_threads, model_on

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_ihf.bids.images import SourceImage
    from bids_ihf.config import RunConfig
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.targets.target import Target

LOGGER = logging.getLogger(__name__)

IMAGE_ENDINGS = (".nii", ".nii.gz")


def find_all(config: RunConfig, subjects: Sequence[str]) -> list[SourceImage]:
    """Images of all subjects; with T2w and diffusion also T1w, which these lean on.

    Raises
    ------
    NothingSelected
        No image of the selected modalities is left.
    """
    from bids_ihf.bids.discovery import find_images
    from bids_ihf.bids.filters import read_filters

    leaning = any(suffix in LEANING for suffix in config.modalities)
    asked = dict.fromkeys([*config.modalities, *(["T1w"] if leaning else [])])
    filters = read_filters(config.bids_filter_file) if config.bids_filter_file else None
    images = [
        image
        for subject in subjects
        for image in find_images(
            config.bids_dir,
            subject,
            sessions=config.session_label,
            modalities=tuple(asked),
            filters=filters,
            database_dir=config.bids_database_dir,
            derivatives=() if config.brain_mask == "network" else config.derivatives,
        )
    ]
    if not any(image.suffix in config.modalities for image in images):
        raise NothingSelected(_nothing(config, subjects))
    return images


def _nothing(config: RunConfig, subjects: Sequence[str]) -> str:
    searched = [f"modalities {' '.join(config.modalities)}", f"subjects {_some(subjects)}"]
    if config.session_label:
        searched.append(f"sessions {_some(config.session_label)}")
    if config.bids_filter_file:
        searched.append(f"filters {config.bids_filter_file.name}")
    kinds: dict[str, int] = {}
    for subject in subjects:
        for path in (config.bids_dir / f"sub-{subject}").glob("**/*.nii*"):
            suffix = path.name.split(".")[0].rsplit("_", 1)[-1]
            kinds[suffix] = kinds.get(suffix, 0) + 1
    there = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "no image"
    return (
        f"{config.bids_dir}: nothing to harmonize; searched for {', '.join(searched)}; "
        f"these subjects have {there} in all; widen the selection."
    )


def _some(labels: Sequence[str], most: int = 5) -> str:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return " ".join(labels[:most]) + more


def choose_device(asked: str) -> str:
    """The device to use; what ``auto`` chose is said."""
    if asked != "auto":
        return asked
    import torch

    found = torch.cuda.is_available()
    reason = torch.cuda.get_device_name() if found else "no CUDA device found"
    device = "cuda" if found else "cpu"
    LOGGER.log(NOTICE, "Device: %s (%s)", device, reason)
    return device


def make_settings(config: RunConfig) -> Settings:
    """Load network and target once, to know that they can be used and which they are.

    Raises
    ------
    UsageError
        There is no such target.
    BadData
        The target cannot be used.
    """
    from bids_ihf.dwi.profile_file import diffusion_hash_of
    from bids_ihf.network.checkpoint import segmenter_hash

    network = str(config.model) if config.model else None
    model = model_on("cpu", network)
    fix_threads(config.omp_nthreads or config.n_procs, config.random_seed)
    target, spec = _target(config, model)
    goal = Goal(
        target.name,
        target.hash,
        model.name,
        model.hash,
        segmenter_hash(),
        tuple(target.modalities),
        diffusion_hash_of(target),
        source_hash=_source_hash(config, model),
        encoder_hash=model.encoder_hash,
    )
    return Settings(
        bids_dir=config.bids_dir,
        out_dir=config.out_dir,
        work_dir=config.work_dir,
        goal=goal,
        target=spec,
        device="cpu" if config.dry_run else choose_device(config.device),
        cpu_if_full=config.device == "auto",
        batch_size=config.batch_size,
        normalization=config.normalization,
        output_spaces=config.output_spaces,
        seed=config.random_seed,
        source_profile=str(config.source_profile) if config.source_profile else None,
        model=network,
    )


def _source_hash(config: RunConfig, model: ModelBundle) -> str:
    """Hash of what is known of the sources' scanners: the vendors', and --source-profile.

    Raises
    ------
    BadData
        The file cannot be used, or knows none of the selected modalities.
    """
    from bids_ihf.dwi.profile_file import builtin_hash, content_of
    from bids_ihf.targets.build import load_target
    from bids_ihf.targets.target import BUILTIN_VENDORS, builtin_path, read_target

    told = [builtin_hash()]
    told += [read_target(builtin_path(vendor)).hash for vendor in BUILTIN_VENDORS]
    if config.source_profile is not None:
        source = load_target(str(config.source_profile), model)
        known = {*source.profiles, *(["dwi"] if content_of(source) else [])}
        if not known & set(config.modalities):
            raise BadData(
                f"{config.source_profile}: knows {', '.join(sorted(known))} and none of the "
                f"modalities to harmonize ({', '.join(config.modalities)}); build it from those."
            )
        told.append(source.hash)
    return hashlib.sha256(" ".join(told).encode()).hexdigest()


def _target(config: RunConfig, model: ModelBundle) -> tuple[Target, str]:
    """The target, and the name or file by which worker processes load the same one.

    A reference image is prepared only here; the workers get the target made from it.
    """
    from bids_ihf.io.atomic import write_atomic
    from bids_ihf.targets.build import load_target
    from bids_ihf.targets.target import pack_target

    asked = str(config.target)
    target = load_target(asked, model, preprocessed=config.preprocessed)
    if not asked.endswith(IMAGE_ENDINGS):
        return target, asked
    path = config.work_dir / "targets" / f"{target.hash}.safetensors"
    if not config.dry_run:
        write_atomic(path, pack_target(target))
    return target, str(path)


def describe(config: RunConfig, settings: Settings) -> str:
    """The settings and what they were applied to, as TOML."""
    goal = settings.goal
    return to_toml(
        config,
        dataset_description_sha256=_sha256(config.bids_dir / "dataset_description.json"),
        target=goal.name,
        target_hash=goal.target_hash,
        model=goal.model_name,
        model_hash=goal.model_hash,
        brain_hash=goal.brain_hash,
        device=settings.device,
    )


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "missing"
