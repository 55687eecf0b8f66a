"""What ``ihf train CONFIG.toml`` can be told."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
from attrs import field, frozen

from bids_ihf.errors import UsageError

T = TypeVar("T")


@frozen
class DataConfig:
    """Where scans come from.

    ``simulated``: ``source`` is a folder of whole-head label maps.  Every person visits all
    scanners of the vendors, ``vendor_scanners`` of each, and ``random_per_person`` of the
    ``random_scanners``.  ``bids``: ``source`` is a BIDS dataset, whose manufacturers are the
    sites; nobody need have been scanned twice, and the supervised loss must be 0.  ``pool`` is
    where prepared scans are kept for the next run.
    """

    source: Path = field(converter=Path)
    kind: Literal["simulated", "bids"] = field(
        default="simulated", validator=attrs.validators.in_(("simulated", "bids"))
    )
    pool: Path = field(default=Path("pool"), converter=Path)
    people: tuple[str, ...] = field(default=(), converter=tuple)
    modalities: tuple[Literal["T1w", "T2w"], ...] = field(default=("T1w", "T2w"), converter=tuple)
    vendor_scanners: int = 2
    random_scanners: int = 24
    random_per_person: int = 10
    preprocessed: bool = False


@frozen
class EncoderConfig:
    """The encoder: trained here, or read from ``file`` (``shipped`` for the package's own)."""

    file: str = ""
    width: int = 16
    steps: int = 1500
    batch: int = 8
    learning_rate: float = 1e-3


@frozen
class NetworkConfig:
    """The network, its losses' weights and how long to train; ``start`` names weights to go on
    from."""

    start: str = ""
    splits: tuple[int, ...] = field(default=(2, 2), converter=tuple)
    hidden: tuple[int, ...] = field(default=(64, 128), converter=tuple)
    style: int = 128
    form: Literal["relative", "printed"] = "relative"
    steps: int = 3000
    batch: int = 6
    learning_rate: float = 1e-3
    supervised: float = 1.0
    anatomy: float = 0.1
    artefact: float = 0.02
    save_every: int = 250


@frozen
class BrainConfig:
    """The network that finds brain and tissues, trained on painted heads; ``box`` is the side of
    what it is shown, voxels of 2 mm."""

    widths: tuple[int, ...] = field(default=(32, 64, 96, 96), converter=tuple)
    box: int = 80
    steps: int = 8000
    learning_rate: float = 1e-3
    save_every: int = 500


@frozen
class TrainConfig:
    """One training run; ``bfloat16`` convolves in that precision, sums stay in single.

    With ``brain`` the network that finds the brain is trained, and nothing else.
    """

    name: str
    output: Path = field(converter=Path)
    data: DataConfig
    encoder: EncoderConfig = field(factory=EncoderConfig)
    network: NetworkConfig = field(factory=NetworkConfig)
    brain: BrainConfig | None = None
    seed: int = 0
    threads: int = 2
    bfloat16: bool = False


def _section(kind: type[T], values: Any, path: Path, title: str) -> T:
    known = {entry.name for entry in attrs.fields(kind)}  # type: ignore[arg-type]
    unknown = set(values) - known
    if unknown:
        raise UsageError(
            f"{path}: [{title}] does not know {', '.join(sorted(unknown))}; it knows "
            f"{', '.join(sorted(known))}."
        )
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: [{title}] {error}; correct it.") from error


def read_config(path: Path) -> TrainConfig:
    """Read a training configuration; relative paths in it start at its folder.

    Raises
    ------
    UsageError
        The file is missing, no TOML, or holds unknown or unusable entries.
    """
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a readable TOML file ({error}).") from error
    for title, kind in (
        ("data", DataConfig),
        ("encoder", EncoderConfig),
        ("network", NetworkConfig),
        ("brain", BrainConfig),
    ):
        if title in values:
            values[title] = _section(kind, values[title], path, title)
    config = _section(TrainConfig, values, path, "top level")
    here = path.parent
    data = attrs.evolve(
        config.data, source=here / config.data.source, pool=here / config.data.pool
    )
    if data.kind == "bids" and config.network.supervised > 0:
        raise UsageError(f"{path}: unpaired data have no truth; set supervised = 0 in [network].")
    return attrs.evolve(config, output=here / config.output, data=data)
