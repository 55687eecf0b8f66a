"""``ihf train``: pool, encoder, targets and network, each written where the configuration says."""

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
from bids_ihf.lab.simulation.random_protocols import RANDOM_VENDOR
from bids_ihf.lab.training.batch_sampling import Sampler, slice_with_neighbours, usable_slices
from bids_ihf.lab.training.bids_pool import prepare_pool
from bids_ihf.lab.training.encoder_training import train_encoder
from bids_ihf.lab.training.imagenet_encoder import imagenet_encoder
from bids_ihf.lab.training.network_training import train_network
from bids_ihf.lab.training.segmenter_training import train_segmenter
from bids_ihf.lab.training.simulated_pool import find_label_maps, simulate_pool
from bids_ihf.lab.training.training_config import SHIPPED_WEIGHTS, TrainConfig, read_config
from bids_ihf.network.checkpoint import load_encoder, pack_encoder, pack_network, pack_segmenter
from bids_ihf.pipeline.process import reuse_freed_memory
from bids_ihf.targets.landmarks import slice_statistics
from bids_ihf.targets.profile import Profile, merge_profiles, slice_position
from bids_ihf.targets.target import Target, pack_target
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bids_ihf.lab.training.scan_pool import PoolScan, ScanPool
    from bids_ihf.network.encoder import Encoder

LOGGER = logging.getLogger(__name__)

MAX_FREED_MEMORY_BYTES = 2**31 - 1
"""Freed memory that the process keeps, bytes: every step allocates the same amount again."""


def train(config_path: Path, device: str = "auto") -> Path:
    """Run the training of a TOML file; returns the folder with weights and targets.

    Parameters
    ----------
    device
        PyTorch device; ``auto`` for a GPU if there is one.

    Raises
    ------
    UsageError
        The configuration cannot be used.
    BadData
        The data, or given weights, cannot be used.
    """
    config = read_config(config_path)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch_device = torch.device(device)
    torch.set_num_threads(config.threads)
    reuse_freed_memory(MAX_FREED_MEMORY_BYTES)
    torch.use_deterministic_algorithms(mode=torch_device.type == "cpu")
    config.output.mkdir(parents=True, exist_ok=True)
    with logging_to(config.output / "train.log"):
        if config.brain is not None:
            _train_segmenter(config, config_path, torch_device)
        else:
            _train_network(config, config_path, torch_device)
        LOGGER.info("The results are in %s", config.output)
    return config.output


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append the log of the training to a file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger(__package__)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


def _train_network(config: TrainConfig, config_path: Path, device: torch.device) -> None:
    """Write the encoder, a target of each vendor or site, and the network."""
    pool = make_pool(config)
    subjects = sorted({scan.subject for scan in pool.scans})
    record = training_record(config, config_path, subjects, scans=len(pool.scans))
    encoder, encoder_hash = obtain_encoder(config, pool, device, record)
    profiles = pool_profiles(pool, encoder, config.threads)
    for target in site_targets(pool, profiles, encoder_hash, record):
        name = f"target-{target.name.lower().replace(' ', '-')}.safetensors"
        write_atomic(config.output / name, pack_target(target))
    sampler = Sampler(
        pool, profiles,
        batch=config.network.batch, seed=config.seed, paired=config.data.kind == "simulated",
    )  # fmt: skip
    network = train_network(sampler, encoder, config, device)
    data = pack_network(network.cpu(), encoder_hash, config.name, record)
    write_atomic(config.output / "network.safetensors", data)


def _train_segmenter(config: TrainConfig, config_path: Path, device: torch.device) -> None:
    segmenter = train_segmenter(config, device)
    record = training_record(config, config_path, list(find_label_maps(config)))
    write_atomic(config.output / "brain.safetensors", pack_segmenter(segmenter.cpu(), record))


def make_pool(config: TrainConfig) -> ScanPool:
    """The scans to train on, simulated or prepared unless they exist."""
    return simulate_pool(config) if config.data.kind == "simulated" else prepare_pool(config)


def training_record(
    config: TrainConfig, config_path: Path, subjects: list[str], **counts: int
) -> dict[str, Any]:
    """Origin of weights: configuration, with the names of its files, data, version and commit."""
    settings = json.loads(json.dumps(attrs.asdict(config), default=_file_name))
    for section, option in (("encoder", "file"), ("encoder", "weights"), ("network", "start")):
        settings[section][option] = Path(settings[section][option]).name
    return {
        "config": config_path.name,
        "settings": settings,
        "people": subjects,
        **counts,
        "version": __version__,
        "commit": _commit(),
        "torch": torch.__version__,
    }


def _file_name(value: object) -> str:
    return value.name if isinstance(value, Path) else str(value)


def _commit() -> str:
    """The checked-out commit, with ``-dirty`` if files were changed; empty outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    folder = Path(__file__).parent
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()


def obtain_encoder(
    config: TrainConfig, pool: ScanPool, device: torch.device, record: dict[str, Any]
) -> tuple[Encoder, str]:
    """The encoder of a configuration, in half precision as it is stored, and its hash.

    Unless it is given as a file it is written to the output folder, where the next run finds it:
    trained on the pool, or with ImageNet weights.

    Raises
    ------
    BadData
        The scans are not simulated, so that no encoder can be trained on them, or a file of
        weights is missing or altered.
    """
    settings = config.encoder
    if settings.file == SHIPPED_WEIGHTS:
        path = packaged_file("encoder.safetensors")
    else:
        path = Path(settings.file) if settings.file else config.output / "encoder.safetensors"
    if not settings.file and not path.exists():
        if settings.kind == "vgg19":
            encoder = imagenet_encoder(Path(settings.weights) if settings.weights else None)
        elif config.data.kind == "simulated":
            encoder = train_encoder(pool, config, device)
        else:
            raise BadData(
                f"{config.data.source}: an encoder is trained on simulated scans only; set file "
                "in [encoder]."
            )
        write_atomic(path, pack_encoder(encoder.cpu(), record))
    encoder, digest = load_encoder(path)
    return encoder.to(device), digest


def pool_profiles(pool: ScanPool, encoder: Encoder, processes: int) -> dict[str, Profile]:
    """The profile of every scan, by its file."""
    if processes == 1:
        return _profiles(pool, encoder)
    portions = [attrs.evolve(pool, scans=pool.scans[k::processes]) for k in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers:
        results = workers.map(_profiles, portions, repeat(copy.deepcopy(encoder).cpu()))
        return {file: profile for result in results for file, profile in result.items()}


def _profiles(pool: ScanPool, encoder: Encoder) -> dict[str, Profile]:
    return {scan.file: _profile(pool, scan, encoder) for scan in pool.scans}


def _profile(pool: ScanPool, scan: PoolScan, encoder: Encoder) -> Profile:
    """The profile of a scan, from the middle usable slice of each slice position."""
    data, mask = pool.data(scan), pool.mask(scan)
    usable = usable_slices(mask)
    position_of_slice = slice_position(scan.z[usable])
    positions = np.unique(position_of_slice)
    indices = []
    for position in positions:
        slices = usable[position_of_slice == position]
        indices.append(int(slices[len(slices) // 2]))
    x = np.stack([slice_with_neighbours(data, index) for index in indices])
    statistics = slice_statistics(encoder, x, mask[indices].astype(np.float32) / np.float32(255))
    return Profile(
        positions,
        scan.histograms[np.searchsorted(scan.positions, positions)],
        statistics.embeddings,
        statistics.landmarks,
        statistics.tissue_histograms,
        scan.scale,
    )


def site_targets(
    pool: ScanPool, profiles: Mapping[str, Profile], encoder_hash: str, record: Mapping[str, Any]
) -> list[Target]:
    """The target of each vendor or site in the pool, from all its subjects; none of random
    scanners."""
    groups: dict[str, dict[str, list[Profile]]] = defaultdict(lambda: defaultdict(list))
    for scan in pool.scans:
        if scan.vendor != RANDOM_VENDOR:
            groups[scan.vendor][scan.modality].append(profiles[scan.file])
    targets = []
    for vendor, modalities in groups.items():
        merged = {modality: merge_profiles(scans) for modality, scans in modalities.items()}
        targets.append(Target(vendor, encoder_hash, merged, provenance=record))
    return targets
