"""What a run works with: its device, its network and its target."""

from __future__ import annotations

import hashlib
import logging
from functools import lru_cache
from pathlib import Path

from bids_ihf.config import RunConfig, to_toml
from bids_ihf.errors import BadData
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.content_hash import file_hash
from bids_ihf.io.paths import is_nifti_name
from bids_ihf.network.checkpoint import ModelBundle, load_model_cached, segmenter_hash
from bids_ihf.pipeline.harmonization import Harmonization, choose_device, matched_pair
from bids_ihf.pipeline.job import ResolvedTarget
from bids_ihf.pipeline.run_log import NOTICE_LEVEL
from bids_ihf.targets.build import load_target, target_file
from bids_ihf.targets.diffusion_profile import diffusion_hash, vendor_diffusion_hash
from bids_ihf.targets.map_profiles import has_maps, serves_series
from bids_ihf.targets.target import BUILTIN_VENDORS, Target
from bids_ihf.targets.target_file import builtin_path, pack_target, read_target

LOGGER = logging.getLogger(__name__)


@lru_cache(maxsize=8)
def load_target_cached(spec: str, network: Path | None = None) -> Target:
    """The target of this name or file, loaded once in each process."""
    return load_target(spec, load_model_cached("cpu", network))


def load_harmonization(
    target: str | Target,
    source_profile: str | Target | None,
    network: Path | None,
    device: str,
    batch_size: int,
    threads: int,
    *,
    preprocessed: bool = False,
) -> Harmonization:
    """How to harmonize to a target, given or loaded, with a network (the shipped one).

    Raises
    ------
    UsageError
        There is no such target.
    BadData
        The target, the network or the source profile cannot be used.
    """
    model = load_model_cached("cpu", network)
    if isinstance(target, str):
        target = load_target(target, model, preprocessed=preprocessed)
    if isinstance(source_profile, str):
        source_profile = load_target(source_profile, model)
    return Harmonization(
        target=target,
        source=source_profile,
        load_model=lambda device: load_model_cached(device, network),
        device=device,
        batch_size=batch_size,
        threads=threads,
    )


def announce_device(device: str) -> None:
    """Log which device ``auto`` stands for, and why."""
    import torch

    reason = torch.cuda.get_device_name() if device == "cuda" else "no CUDA device found"
    LOGGER.log(NOTICE_LEVEL, "Device: %s (%s)", device, reason)


def resolve_target(config: RunConfig) -> ResolvedTarget:
    """Load network and target once, to know that they can be used and which they are.

    A reference image (``--target IMAGE``) is prepared only here; workers load the target made
    from it.

    Raises
    ------
    UsageError
        There is no such target.
    BadData
        The target, the network or the source profile cannot be used.
    """
    model = load_model_cached("cpu", config.model)
    spec = str(config.target)
    target = load_target(spec, model, preprocessed=config.preprocessed)
    if is_nifti_name(spec):
        path = config.work_dir / "targets" / f"{target.hash}.safetensors"
        if not config.dry_run:
            write_atomic(path, pack_target(target))
        spec = str(path)
    elif file := target_file(spec):
        spec = str(file.absolute())  # nodes run in folders of their own
    source = _source_profile(config, model)
    return ResolvedTarget(
        spec=spec,
        name=target.name,
        target_hash=target.hash,
        model_name=model.name,
        model_hash=model.hash,
        brain_hash=segmenter_hash(),
        modalities=tuple(target.modalities),
        diffusion_hash=diffusion_hash(target.diffusion),
        source_hash=_source_hash(source),
        matched=matched_pair(source, target) is not None,
        encoder_hash=model.encoder_hash,
        map_network=serves_series(model) and has_maps(target.profiles),
    )


def _source_profile(config: RunConfig, model: ModelBundle) -> Target | None:
    """What ``--source-profile`` names, if anything.

    Raises
    ------
    BadData
        The file cannot be used, or has a profile of none of the selected modalities.
    """
    if config.source_profile is None:
        return None
    source = load_target(str(config.source_profile), model)
    modalities = {*source.modalities, *(["dwi"] if source.diffusion else [])}
    if not modalities & set(config.modalities):
        raise BadData(
            f"{config.source_profile}: has profiles of {', '.join(sorted(modalities))} and "
            f"of none of the modalities to harmonize ({', '.join(config.modalities)}); "
            "build it from those."
        )
    return source


def _source_hash(source: Target | None) -> str:
    """Hash of the profiles of source scanners: the vendors', and ``--source-profile``."""
    hashes = [vendor_diffusion_hash()]
    hashes += [read_target(builtin_path(vendor)).hash for vendor in BUILTIN_VENDORS]
    hashes += [] if source is None else [source.hash]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def describe_run(config: RunConfig, target: ResolvedTarget) -> str:
    """The settings of a run and what they were applied to, as TOML."""
    description = config.bids_dir / "dataset_description.json"
    return to_toml(
        config,
        dataset_description_sha256=file_hash(description) or "missing",
        target=target.name,
        target_hash=target.target_hash,
        model=target.model_name,
        model_hash=target.model_hash,
        brain_hash=target.brain_hash,
        device=choose_device(config.device),
    )
