"""From the command line and a settings file to the settings of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids_ihf.cli.options import build_parser
from bids_ihf.config import RunConfig, from_toml
from bids_ihf.config.option import unique_items
from bids_ihf.errors import UsageError
from bids_ihf.pipeline.process import available_memory_gb, available_processors

NO_RAW_FOLDERS = frozenset({"derivatives", "sourcedata", "code"})
"""Folders of a dataset in which BIDS allows what is not raw data."""


def parse(arguments: Sequence[str] | None = None) -> RunConfig:
    """Settings from the command line; what is wrong with it ends the program with code 2.

    Options given there win over those of ``--config-file``, and these over the defaults.
    """
    parser = build_parser()
    options = vars(parser.parse_args(arguments))
    options.pop("notrack", None)
    config_file = options.pop("config_file", None)
    settings: dict[str, Any] = {
        "work_dir": Path("work").absolute(),
        "n_procs": available_processors(),
        "mem_gb": available_memory_gb(),
    }
    try:
        settings |= from_toml(config_file) if config_file else {}
        for name, value in options.items():
            settings[name] = unique_items(value) if isinstance(value, list) else value
        config = RunConfig(**settings)
        _check(config)
    except UsageError as error:
        parser.error(str(error))
    return config


def _check(config: RunConfig) -> None:
    """Refuse folders that would harm the input, before anything heavy is loaded."""
    bids, out, work = (p.resolve() for p in (config.bids_dir, config.out_dir, config.work_dir))
    if out == bids:
        raise UsageError(f"{config.out_dir}: OUT_DIR is BIDS_DIR; name another folder for results")
    if config.analysis_level == "participant":
        if out.is_relative_to(bids) and out.relative_to(bids).parts[0] not in NO_RAW_FOLDERS:
            raise UsageError(
                f"{config.out_dir}: OUT_DIR lies among the raw data of BIDS_DIR; name a folder "
                f"outside of it or in {config.bids_dir / 'derivatives'}"
            )
        if work.is_relative_to(bids):
            raise UsageError(f"{config.work_dir}: the work folder is inside BIDS_DIR; change -w")
        if not (config.target or config.reports_only):
            raise UsageError(
                "--target is needed: Siemens, GE, Philips, a target file or a NIfTI image"
            )
