"""``ihf train``: pool, encoder, targets and network, each written where the configuration says."""

from __future__ import annotations

import copy
import json
import logging
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import torch

from bids_ihf.errors import BadData
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.memory import reuse_freed_memory
from bids_ihf.io.paths import packaged_file
from bids_ihf.lab.training.comparator_training import train_comparator
from bids_ihf.lab.training.encoder_training import train_encoder
from bids_ihf.lab.training.imagenet_encoder import imagenet_encoder
from bids_ihf.lab.training.network_training import NetworkTrainer
from bids_ihf.lab.training.packed_people import find_label_maps, pack_people, read_people
from bids_ihf.lab.training.slab_sampling import SlabSampler
from bids_ihf.lab.training.template_subjects import template_subjects
from bids_ihf.lab.training.training_config import SHIPPED_WEIGHTS, TrainConfig, read_config
from bids_ihf.lab.training.validation import Validation
from bids_ihf.lab.training.vendor_profiles import typical_profiles, vendor_targets
from bids_ihf.network.checkpoint import load_encoder, pack_encoder, pack_network, pack_segmenter
from bids_ihf.targets.target_file import pack_target
from bids_ihf.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.network.encoder import Encoder
    from bids_ihf.network.flow import IHFNetwork
    from bids_ihf.targets.target import Target

FILE_OPTIONS = (
    ("encoder", "file"),
    ("encoder", "start"),
    ("encoder", "weights"),
    ("network", "start"),
)
"""Options that are files, of which a record keeps the names alone."""

LOGGER = logging.getLogger(__name__)

MAX_FREED_MEMORY_BYTES = 2**31 - 1
"""Freed memory that the process keeps, bytes: every step allocates the same amount again."""


def train(config_path: Path, device: str = "auto", *, minutes: float | None = None) -> Path:
    """Run the training of a TOML file; returns the folder with weights and targets.

    Parameters
    ----------
    device
        PyTorch device; ``auto`` for a GPU if there is one.
    minutes
        For how long the network is trained at most; the next run goes on from there.

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
        elif config.data.kind == "simulated":
            _train_on_slabs(config, config_path, torch_device, minutes)
        else:
            _train_on_pool(config, config_path, torch_device, minutes)
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


def _train_on_slabs(
    config: TrainConfig, config_path: Path, device: torch.device, minutes: float | None
) -> None:
    """Write the encoder, the targets of the vendors, and the network, from simulated slabs."""
    data = config.data
    if not data.people_file.exists():
        pack_people(
            find_label_maps(config), data.people_file, seed=config.seed, processes=config.threads
        )
    names = data.people or tuple(
        packed.name
        for packed in read_people(data.people_file)
        if packed.name not in data.validation
    )
    subjects = template_subjects(data.people_file, data.pool, names, processes=config.threads)
    kept_out = (
        template_subjects(data.people_file, data.pool, data.validation) if data.validation else []
    )
    record = training_record(config, config_path, list(names))
    encoder, encoder_hash = obtain_encoder(config, subjects, device, record)
    on_cpu = copy.deepcopy(encoder).cpu()
    profiles = typical_profiles(
        data.people_file,
        data.pool,
        names,
        (on_cpu, encoder_hash),
        config.output / "typical",
        modalities=tuple(dict.fromkeys(data.modalities)),
        processes=config.threads,
    )
    _write_targets(config, vendor_targets(profiles, encoder_hash, record))
    if config.comparator is not None:
        train_comparator(
            config, config.comparator, device, minutes,
            people=(subjects, kept_out, profiles), encoder=(encoder, encoder_hash), record=record,
        )  # fmt: skip
        return
    sampler = SlabSampler(
        subjects,
        profiles,
        on_cpu,
        modalities=data.modalities,
        batch=config.network.batch,
        seed=config.seed,
    )
    validation = None
    if kept_out:
        validation = Validation(
            sampler.of_subjects(kept_out),
            config.output / "validation.tsv",
        )
    trainer = NetworkTrainer(
        encoder, config, device, _network_writer(config, encoder_hash, record), validation
    )
    trainer.train(sampler, minutes=minutes)


def _train_on_pool(
    config: TrainConfig, config_path: Path, device: torch.device, minutes: float | None
) -> None:
    """Write a target of each site, and the network, from the scans of a BIDS dataset."""
    # Preparing scans needs libraries that training on packed people does without.
    from bids_ihf.lab.training.batch_sampling import Sampler
    from bids_ihf.lab.training.bids_pool import prepare_pool
    from bids_ihf.lab.training.pool_profiles import pool_profiles, site_targets

    pool = prepare_pool(config)
    names = sorted({scan.subject for scan in pool.scans})
    record = training_record(config, config_path, names, scans=len(pool.scans))
    encoder, encoder_hash = obtain_encoder(config, [], device, record)
    profiles = pool_profiles(pool, encoder, config.threads)
    _write_targets(config, site_targets(pool, profiles, encoder_hash, record))
    sampler = Sampler(pool, profiles, batch=config.network.batch, seed=config.seed)
    trainer = NetworkTrainer(
        encoder, config, device, _network_writer(config, encoder_hash, record)
    )
    trainer.train(sampler, minutes=minutes)


def _network_writer(
    config: TrainConfig, encoder_hash: str, record: dict[str, Any]
) -> Callable[[IHFNetwork], None]:
    def write(network: IHFNetwork) -> None:
        data = pack_network(network, encoder_hash, config.name, record)
        write_atomic(config.output / "network.safetensors", data)

    return write


def _write_targets(config: TrainConfig, targets: Iterable[Target]) -> None:
    for target in targets:
        name = f"target-{target.name.lower().replace(' ', '-')}.safetensors"
        write_atomic(config.output / name, pack_target(target))


def _train_segmenter(config: TrainConfig, config_path: Path, device: torch.device) -> None:
    from bids_ihf.lab.training.segmenter_training import train_segmenter

    segmenter = train_segmenter(config, device)
    record = training_record(config, config_path, list(find_label_maps(config)))
    write_atomic(config.output / "brain.safetensors", pack_segmenter(segmenter.cpu(), record))


def training_record(
    config: TrainConfig, config_path: Path, subjects: list[str], **counts: int
) -> dict[str, Any]:
    """Origin of weights: configuration, with the names of its files, data, version and commit."""
    settings = json.loads(json.dumps(attrs.asdict(config), default=_file_name))
    for section, option in FILE_OPTIONS:
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
    config: TrainConfig,
    subjects: Sequence[TemplateSubject],
    device: torch.device,
    record: dict[str, Any],
) -> tuple[Encoder, str]:
    """The encoder of a configuration, in half precision as it is stored, and its hash.

    Unless it is given as a file it is written to the output folder, where the next run finds it:
    trained on scans of the subjects, or with ImageNet weights.

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
            encoder = train_encoder(subjects, config, device)
        else:
            raise BadData(
                f"{config.data.source}: an encoder is trained on simulated scans only; set file "
                "in [encoder]."
            )
        write_atomic(path, pack_encoder(encoder.cpu(), record))
    encoder, digest = load_encoder(path)
    return encoder.to(device), digest
