"""``ihf train``: pool, encoder, network, targets, each written where the configuration says."""

from __future__ import annotations

import copy
import json
import logging
import subprocess
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch

from bids_ihf.errors import BadData
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.paths import packaged_file
from bids_ihf.lab.training.batch_sampling import Sampler, slice_with_neighbours, usable_slices
from bids_ihf.lab.training.encoder_training import train_encoder
from bids_ihf.lab.training.network_training import train_network
from bids_ihf.lab.training.segmenter_training import train_segmenter
from bids_ihf.lab.training.simulated_pool import RANDOM_VENDOR, find_label_maps, simulate_pool
from bids_ihf.lab.training.training_config import TrainConfig, read_config
from bids_ihf.network.checkpoint import load_encoder, pack_encoder, pack_network, pack_segmenter
from bids_ihf.pipeline.process import reuse_freed_memory
from bids_ihf.targets.landmarks import slice_statistics
from bids_ihf.targets.profile import Profile, merge_profiles, slice_position
from bids_ihf.targets.target import Target, pack_target
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bids_ihf.lab.training.scan_pool import PoolScan, ScanPool
    from bids_ihf.network.encoder import Encoder

LOGGER = logging.getLogger(__name__)

MAX_FREED_MEMORY_BYTES = 2**31 - 1
"""Freed memory (bytes) that is kept: every step asks for the same again."""


def train(config_path: Path, device: str = "auto") -> Path:
    """Run the training a TOML file describes; returns the folder with weights and targets.

    Raises
    ------
    UsageError
        The configuration cannot be used.
    BadData
        The data cannot be used.
    """
    config = read_config(config_path)
    where = torch.device(
        "cuda"
        if device == "auto" and torch.cuda.is_available()
        else "cpu"
        if device == "auto"
        else device
    )
    torch.set_num_threads(config.threads)
    reuse_freed_memory(MAX_FREED_MEMORY_BYTES)
    torch.use_deterministic_algorithms(mode=where.type == "cpu")
    config.output.mkdir(parents=True, exist_ok=True)
    with logging_to(config.output / "train.log"):
        return _train(config, config_path, where)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append what is logged inside to a file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("bids_ihf.training")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


def _train(config: TrainConfig, config_path: Path, where: torch.device) -> Path:
    if config.brain is not None:
        return _train_brain(config, config_path, where)
    pool = make_pool(config)
    people = sorted({scan.person for scan in pool.scans})
    record = training_record(config, config_path, people, scans=len(pool.scans))
    encoder, encoder_hash = obtain_encoder(config, pool, where, record)
    profiles = pool_profiles(pool, encoder, config.threads)
    write_targets(config.output, site_targets(pool, profiles, encoder_hash, record))
    sampler = Sampler(
        pool, profiles,
        batch=config.network.batch, seed=config.seed, paired=config.data.kind == "simulated",
    )  # fmt: skip
    network = train_network(sampler, encoder, config, where)
    data = pack_network(network.cpu(), encoder_hash, config.name, record)
    write_atomic(config.output / "network.safetensors", data)
    LOGGER.info("Weights and targets are in %s", config.output)
    return config.output


def _train_brain(config: TrainConfig, config_path: Path, where: torch.device) -> Path:
    segmenter = train_segmenter(config, where)
    people = [path.name.split("_")[0] for path in find_label_maps(config)]
    data = pack_segmenter(segmenter.cpu(), training_record(config, config_path, people))
    path = config.output / "brain.safetensors"
    write_atomic(path, data)
    LOGGER.info("Weights are in %s", path)
    return config.output


def make_pool(config: TrainConfig) -> ScanPool:
    """The scans to train on."""
    if config.data.kind == "simulated":
        return simulate_pool(config)
    from bids_ihf.lab.training.bids_pool import prepare_pool

    return prepare_pool(config)


def training_record(
    config: TrainConfig, config_path: Path, people: list[str], **counts: int
) -> dict[str, Any]:
    """What a file of weights says of its origin: configuration, data, seed, version, commit."""
    return {
        "config": config_path.name,
        "settings": json.loads(json.dumps(attrs.asdict(config), default=_file_name)),
        "people": people,
        **counts,
        "version": __version__,
        "commit": _commit(),
        "torch": torch.__version__,
    }


def _file_name(value: object) -> str:
    return value.name if isinstance(value, Path) else str(value)


def _commit() -> str:
    """The checked-out commit, with ``-dirty`` where files differ from it; empty outside a
    checkout."""
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def obtain_encoder(
    config: TrainConfig, pool: ScanPool, device: torch.device, record: dict[str, Any]
) -> tuple[Encoder, str]:
    """The encoder, half precision as shipped, and its hash: read, resumed or trained."""
    path = encoder_file(config)
    if not config.encoder.file and not path.exists():
        if config.data.kind != "simulated":
            raise BadData("An encoder is trained on simulated scans only; set file in [encoder].")
        write_atomic(path, pack_encoder(train_encoder(pool, config, device).cpu(), record))
    encoder, digest = load_encoder(path)
    return encoder.to(device), digest


def encoder_file(config: TrainConfig) -> Path:
    """Where the encoder of a configuration is, or will be."""
    if not config.encoder.file:
        return config.output / "encoder.safetensors"
    given = config.encoder.file
    return packaged_file("encoder.safetensors") if given == "shipped" else Path(given)


def pool_profiles(pool: ScanPool, encoder: Encoder, threads: int) -> dict[str, Profile]:
    """The profile of every scan, by file, in as many processes."""
    if threads == 1:
        return _profiles(pool, encoder)
    parts = [attrs.evolve(pool, scans=pool.scans[k::threads]) for k in range(threads)]
    with ProcessPoolExecutor(threads, mp_context=get_context("spawn")) as workers:
        done = workers.map(_profiles, parts, repeat(copy.deepcopy(encoder).cpu()))
        return {file: profile for part in done for file, profile in part.items()}


def _profiles(pool: ScanPool, encoder: Encoder) -> dict[str, Profile]:
    return {scan.file: _profile(pool, scan, encoder) for scan in pool.scans}


def _profile(pool: ScanPool, scan: PoolScan, encoder: Encoder) -> Profile:
    data, mask = pool.data(scan), pool.mask(scan)
    usable = usable_slices(mask)
    at = slice_position(scan.z[usable])
    known = np.unique(at)
    chosen = [int(usable[at == p][np.count_nonzero(at == p) // 2]) for p in known]
    x = np.stack([slice_with_neighbours(data, index) for index in chosen])
    inside = mask[chosen].astype(np.float32) / np.float32(255)
    found = slice_statistics(encoder, x, inside)
    rows = np.searchsorted(scan.positions, known)
    return Profile(
        known,
        scan.histograms[rows],
        found.embeddings,
        found.landmarks,
        found.tissue_histograms,
        scan.scale,
    )


def site_targets(
    pool: ScanPool, profiles: Mapping[str, Profile], encoder_hash: str, record: Mapping[str, Any]
) -> list[Target]:
    """One target for every vendor in the pool, over all its people; none of random scanners."""
    groups: dict[str, dict[str, list[Profile]]] = defaultdict(lambda: defaultdict(list))
    for scan in pool.scans:
        if scan.vendor == RANDOM_VENDOR:
            continue
        groups[scan.vendor][scan.modality].append(profiles[scan.file])
    targets = []
    for vendor, modalities in groups.items():
        merged = {modality: merge_profiles(each) for modality, each in modalities.items()}
        targets.append(Target(vendor, encoder_hash, merged, provenance=record))
    return targets


def write_targets(folder: Path, targets: Iterable[Target]) -> None:
    """One file for every target."""
    for target in targets:
        name = f"target-{target.name.lower().replace(' ', '-')}.safetensors"
        write_atomic(folder / name, pack_target(target))
