"""From the command line and a settings file to the settings of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids_ihf.cli.options import build_parser
from bids_ihf.cli.output_paths import require_no_raw_folder, require_other_folder
from bids_ihf.config import RunConfig, from_toml
from bids_ihf.config.option import unique_items
from bids_ihf.errors import UsageError
from bids_ihf.pipeline.process import available_memory_gb, available_processors

MIN_MEMORY_GB = 0.1
"""Least memory that a run is given; less is a number of MB that was meant as GB."""


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
    """Refuse folders that would harm the input, and what no run can do with, before anything heavy
    is loaded."""
    require_other_folder(config.out_dir, config.bids_dir)
    if config.mem_gb is not None and config.mem_gb < MIN_MEMORY_GB:
        raise UsageError(
            f"--mem: {1024 * config.mem_gb:.3g} MB are too little; a plain number is in MB, write "
            "8G for 8 GB"
        )
    if config.analysis_level == "participant":
        require_no_raw_folder(config.out_dir, config.bids_dir)
        if config.work_dir.resolve().is_relative_to(config.bids_dir.resolve()):
            raise UsageError(f"{config.work_dir}: the work folder is inside BIDS_DIR; change -w")
        if not (config.target or config.reports_only):
            raise UsageError(
                "--target is needed: Siemens, GE, Philips, a target file or a NIfTI image"
            )
