"""Settings of one run, passed on explicitly, and how they are written to and read from TOML."""

from __future__ import annotations

import hashlib
import json
import platform
import tomllib
import uuid
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
from attrs import field, frozen

from bids_ihf import __version__
from bids_ihf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Normalization = Literal["rigid", "affine", "syn"]
BrainMask = Literal["auto", "network", "derivatives"]

NOT_FROM_FILE = frozenset({"bids_dir", "out_dir", "analysis_level", "run_uuid", "verbose"})
"""Settings that an earlier run wrote down but a new one has to be given."""


def new_run_uuid() -> str:
    """Identity of a run: local time and a random part, so that concurrent runs never share it."""
    return f"{datetime.now().astimezone():%Y%m%d-%H%M%S}_{uuid.uuid4()}"


@frozen
class RunConfig:
    """All settings of a run of ``ihf-harmony``; memory in GB, empty tuples mean no restriction."""

    bids_dir: Path
    out_dir: Path
    analysis_level: str = "participant"
    target: str | None = None
    participant_label: tuple[str, ...] = ()
    session_label: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ("T1w", "T2w", "dwi")
    bids_filter_file: Path | None = None
    bids_database_dir: Path | None = None
    derivatives: tuple[Path, ...] = ()
    brain_mask: BrainMask = "auto"
    skip_bids_validation: bool = False
    output_spaces: tuple[str, ...] = ()
    normalization: Normalization = "rigid"
    preprocessed: bool = False
    source_vendor: str | None = None
    source_profile: Path | None = None
    model: Path | None = None
    work_dir: Path = Path("work")
    n_procs: int = 1
    omp_nthreads: int | None = None
    mem_gb: float | None = None
    device: str = "auto"
    batch_size: int = 8
    use_plugin: Path | None = None
    random_seed: int = 0
    stop_on_first_crash: bool = False
    reports_only: bool = False
    dry_run: bool = False
    verbose: int = 0
    run_uuid: str = field(factory=new_run_uuid)

    def log_dir(self, subject: str) -> Path:
        """Folder for the log, settings and crash files of one subject (label without ``sub-``)."""
        return self.out_dir / f"sub-{subject}" / "log" / self.run_uuid


def to_toml(config: RunConfig, **inputs: str) -> str:
    """The settings as TOML, with what they were applied to (``inputs``: hashes and names)."""
    import tomli_w

    options = {
        key: value
        for key, value in attrs.asdict(config, value_serializer=_plain).items()
        if value is not None
    }
    about = {"version": __version__, "python": platform.python_version(), "host": platform.node()}
    return tomli_w.dumps({"options": options, "software": about, "inputs": inputs})


def _plain(_instance: object, _attribute: object, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value


def from_toml(path: Path) -> dict[str, Any]:
    """Settings for a new run from a file that an earlier run or a user wrote.

    Raises
    ------
    UsageError
        The file cannot be read, or names a setting that does not exist.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{path}: not a readable TOML file ({error}); check --config-file."
        ) from error
    options = content.get("options", content)
    known = {attribute.name for attribute in attrs.fields(RunConfig)}
    options = {key.replace("-", "_"): value for key, value in options.items()}
    unknown = sorted(set(options) - known)
    if unknown:
        raise UsageError(f"{path}: unknown setting {', '.join(unknown)}; take it out of the file.")
    return {key: value for key, value in options.items() if key not in NOT_FROM_FILE}


def configuration_hash(
    config: RunConfig,
    *,
    target_hash: str,
    model_hash: str,
    brain_hash: str,
    image: Mapping[str, str | int | None],
) -> str:
    """SHA-256 over all that changes the numbers of one output, and nothing else.

    ``image`` holds what is particular to the scan: vendor, mask, anchor, size of the source file.
    Threads, device and places are left out: the same image made elsewhere is the same image.
    """
    facts = {
        "version": __version__,
        "target": target_hash,
        "model": model_hash,
        "brain": brain_hash,
        "preprocessed": config.preprocessed,
        "output_spaces": sorted(config.output_spaces),
        "normalization": config.normalization if config.output_spaces else None,
        "seed": config.random_seed,
        "image": dict(image),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
