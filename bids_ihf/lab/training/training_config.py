"""Configuration of ``ihf train CONFIG.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import attrs
from attrs import field, frozen

from bids_ihf.bids.names import ANATOMICAL_MODALITIES, Modality
from bids_ihf.errors import UsageError
from bids_ihf.lab.comparators.learned.kinds import COMPARATOR_KINDS, ComparatorKind
from bids_ihf.network.context import NETWORK_MODALITIES

T = TypeVar("T")

SHIPPED_WEIGHTS = "shipped"
"""In place of a path: the weights of the package."""


def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _numbers(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)


@frozen
class DataConfig:
    """Source of the scans.

    kind: ``simulated`` or ``bids``.
    source: of simulated scans, a folder of whole-head label maps, which are read once, to make
        ``people_file``.  Else a BIDS dataset, whose manufacturers are the sites; no
        traveling-subject data are needed, and the supervised loss must be 0.
    people_file: of simulated scans, the file of packed label maps.
    pool: folder of prepared scans, or of the arrays of packed label maps; reused by the next run.
    people: subjects to train on; by default all but those of ``validation``.
    modalities: contrasts of the scans, out of `context.NETWORK_MODALITIES`; those of diffusion are
        of simulated scans only. One that is listed twice is drawn twice as often.
    validation: of simulated scans, subjects on whose scans the network is validated.
    preprocessed: whether the scans of the dataset need no bias correction.
    """

    source: Path = field(converter=Path)
    kind: Literal["simulated", "bids"] = field(
        default="simulated", validator=attrs.validators.in_(("simulated", "bids"))
    )
    people_file: Path = field(default=Path("people.safetensors"), converter=Path)
    pool: Path = field(default=Path("pool"), converter=Path)
    people: tuple[str, ...] = field(default=(), converter=_names)
    validation: tuple[str, ...] = field(default=(), converter=_names)
    modalities: tuple[str, ...] = field(
        default=ANATOMICAL_MODALITIES,
        converter=_names,
        validator=attrs.validators.deep_iterable(attrs.validators.in_(NETWORK_MODALITIES)),
    )
    preprocessed: bool = False

    @property
    def anatomical(self) -> tuple[Modality, ...]:
        """Those of the modalities that are no maps of diffusion series."""
        names = [name for name in self.modalities if name in ANATOMICAL_MODALITIES]
        return cast("tuple[Modality, ...]", tuple(names))


@frozen
class EncoderConfig:
    """The encoder.

    kind: ``trained``, on the pool of simulated scans, or ``vgg19``, that of the paper, with
        ImageNet weights.
    file: an encoder to use instead; ``shipped`` for that of the package.
    start: file of an encoder to train further; ``shipped`` for that of the package.
    weights: file of the ImageNet weights; by default that in the cache of torch.hub.
    width: channels of the first layer of a trained encoder.
    """

    kind: Literal["trained", "vgg19"] = field(
        default="trained", validator=attrs.validators.in_(("trained", "vgg19"))
    )
    file: str = ""
    start: str = ""
    weights: str = ""
    width: int = 16
    steps: int = 1500
    batch: int = 8
    learning_rate: float = 1e-3
    save_every: int = 250


@frozen
class NetworkConfig:
    """The network, the weights of its losses and its training.

    start: file of a network to fine-tune; ``shipped`` for that of the package.
    local: widths of the local heads, one number per block; none by default.
    told_context: whether modality and position of the slices are told.
    for_series: whether diffusion series are harmonized with it; for a network that was trained on
        their maps, once the diffusion benchmark has shown that it helps.
    average: decay of the running average of the weights, which is what is written.
    validate_every: steps between validations.
    """

    start: str = ""
    splits: tuple[int, ...] = field(default=(2, 2), converter=_numbers)
    hidden: tuple[int, ...] = field(default=(64, 128), converter=_numbers)
    style: int = 128
    form: Literal["relative", "printed"] = "relative"
    local: tuple[int, ...] = field(default=(), converter=_numbers)
    told_context: bool = False
    for_series: bool = False
    steps: int = 3000
    batch: int = 6
    learning_rate: float = 1e-3
    supervised: float = 1.0
    anatomy: float = 0.1
    artefact: float = 0.02
    average: float = 0.999
    save_every: int = 250
    validate_every: int = 500


@frozen
class BrainConfig:
    """The segmentation network, trained on synthetic heads.

    box: side of its input, voxels of 2 mm.
    """

    widths: tuple[int, ...] = field(default=(32, 64, 96, 96), converter=_numbers)
    box: int = 80
    steps: int = 8000
    learning_rate: float = 1e-3
    save_every: int = 500


@frozen
class ComparatorConfig:
    """A comparator, trained instead of the network on the same people.

    kind: a paper's network and losses, one of ``COMPARATOR_KINDS``.
    channels, blocks: of the first layer, and residual blocks of an encoder or generator.
    window: sides of the part of each slice that a step is trained on; by default all of it.
    average, validate_every: as of the network.
    """

    kind: ComparatorKind = field(validator=attrs.validators.in_(COMPARATOR_KINDS))
    channels: int = 32
    blocks: int = 3
    window: tuple[int, ...] = field(
        default=(), converter=_numbers, validator=attrs.validators.max_len(2)
    )
    steps: int = 3000
    batch: int = 6
    learning_rate: float = 4e-4
    average: float = 0.999
    save_every: int = 250
    validate_every: int = 500


@frozen
class TrainConfig:
    """One training run.

    comparator: if given, it is trained instead of the network.
    brain: if given, the segmentation network is trained, and nothing else.
    threads: threads of torch, and processes that simulate.
    bfloat16: convolve in bfloat16; sums stay in single precision.
    """

    name: str
    output: Path = field(converter=Path)
    data: DataConfig
    encoder: EncoderConfig = field(factory=EncoderConfig)
    network: NetworkConfig = field(factory=NetworkConfig)
    comparator: ComparatorConfig | None = None
    brain: BrainConfig | None = None
    seed: int = 0
    threads: int = 2
    bfloat16: bool = False


def _parse_section(section: type[T], values: Any, path: Path, title: str) -> T:
    accepted = {entry.name for entry in attrs.fields(section)}  # type: ignore[arg-type]
    unknown = set(values) - accepted
    if unknown:
        raise UsageError(
            f"{path}: [{title}] has no option {', '.join(sorted(unknown))}; it has "
            f"{', '.join(sorted(accepted))}."
        )
    try:
        return section(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: [{title}] {error}; correct it.") from error


def read_config(path: Path) -> TrainConfig:
    """Read a training configuration; relative paths in it start at its folder.

    Raises
    ------
    UsageError
        The file is missing, no TOML, or has unknown or unusable options.
    """
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a readable TOML file ({error}).") from error
    for title, section in (
        ("data", DataConfig),
        ("encoder", EncoderConfig),
        ("network", NetworkConfig),
        ("comparator", ComparatorConfig),
        ("brain", BrainConfig),
    ):
        if title in values:
            values[title] = _parse_section(section, values[title], path, title)
    config = _parse_section(TrainConfig, values, path, "top level")
    _check(config, path)
    return _with_paths_from(path.parent, config)


def _check(config: TrainConfig, path: Path) -> None:
    if config.data.kind == "bids" and config.network.supervised > 0:
        raise UsageError(
            f"{path}: unpaired scans have no ground truth; set supervised = 0 in [network]."
        )
    if config.data.kind == "bids" and config.comparator is not None:
        raise UsageError(f"{path}: [comparator] is trained on simulated scans; remove it.")
    encoder = config.encoder
    if encoder.file and encoder.kind == "vgg19":
        raise UsageError(f'{path}: [encoder] has a file and kind = "vgg19"; remove one of them.')
    if encoder.start and (encoder.file or encoder.kind == "vgg19"):
        raise UsageError(f"{path}: [encoder] start is where a trained one starts; remove it.")
    if encoder.weights and encoder.kind != "vgg19":
        raise UsageError(f'{path}: [encoder] weights are those of kind = "vgg19"; set it.')


def _with_paths_from(folder: Path, config: TrainConfig) -> TrainConfig:
    """The configuration with its relative paths starting at a folder."""

    def located(file: str) -> str:
        return file if file in ("", SHIPPED_WEIGHTS) else str(folder / file)

    return attrs.evolve(
        config,
        output=folder / config.output,
        data=attrs.evolve(
            config.data,
            source=folder / config.data.source,
            people_file=folder / config.data.people_file,
            pool=folder / config.data.pool,
        ),
        encoder=attrs.evolve(
            config.encoder,
            file=located(config.encoder.file),
            start=located(config.encoder.start),
            weights=located(config.encoder.weights),
        ),
        network=attrs.evolve(config.network, start=located(config.network.start)),
    )
