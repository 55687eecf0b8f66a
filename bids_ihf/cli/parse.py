"""From the command line and a settings file to the settings of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_ihf.cli import values
from bids_ihf.cli.options import build_parser
from bids_ihf.config import RunConfig, from_toml
from bids_ihf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse(arguments: Sequence[str] | None = None) -> RunConfig:
    """Settings from the command line; what is wrong with it ends the program with code 2."""
    parser = build_parser()
    _load_defaults(parser, arguments)
    given = vars(parser.parse_args(arguments))
    for key in ("config_file", "notrack"):
        given.pop(key)
    for key, prefix in (("participant_label", "sub-"), ("session_label", "ses-")):
        try:
            given[key] = values.labels(given[key], prefix)
        except (OSError, ValueError) as error:
            parser.error(f"argument --{key.replace('_', '-')}: {error}")
    given["n_procs"] = given["n_procs"] or values.available_processors()
    given["mem_gb"] = given["mem_gb"] or values.available_memory()
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in given.items()
    }
    config = RunConfig(**options)
    _check(parser, config)
    return config


def _load_defaults(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> None:
    """Let a settings file give the defaults, read as if typed, so that explicit options win."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config-file", "--config_file", type=Path)
    path = first.parse_known_args(arguments)[0].config_file
    if path is None:
        return
    actions = {action.dest: action for action in parser._actions}
    try:
        loaded = from_toml(path)
        parser.set_defaults(**{key: _typed(actions[key], value) for key, value in loaded.items()})
    except UsageError as error:
        parser.error(str(error))
    except argparse.ArgumentTypeError as error:
        parser.error(f"{path}: {error}")


def _typed(action: argparse.Action, value: Any) -> Any:
    if isinstance(value, list):
        if action.nargs not in ("+", "*"):
            raise argparse.ArgumentTypeError(f"{action.dest}: a list is no value for it")
        return [_typed_one(action, item) for item in value]
    if isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{action.dest}: a table is no value for it")
    if action.nargs == 0 and not isinstance(value, bool):
        raise argparse.ArgumentTypeError(f"{action.dest}: {value!r} is neither true nor false")
    if action.nargs in ("+", "*"):
        return [_typed_one(action, value)]
    return _typed_one(action, value)


def _typed_one(action: argparse.Action, value: Any) -> Any:
    if action.dest == "mem_gb" and not isinstance(value, str):
        return float(value)
    if action.choices is not None and value not in action.choices:
        raise argparse.ArgumentTypeError(
            f"{action.dest}: {value!r} is none of {list(action.choices)}"
        )
    convert = action.type
    return convert(str(value)) if callable(convert) else value


def _check(parser: argparse.ArgumentParser, config: RunConfig) -> None:
    """Refuse what would harm the input or cannot be, before anything heavy is loaded."""
    bids, out, work = (p.resolve() for p in (config.bids_dir, config.out_dir, config.work_dir))
    if not bids.is_dir():
        parser.error(f"{config.bids_dir}: no such folder; BIDS_DIR must be an existing dataset")
    if out == bids:
        parser.error(f"{config.out_dir}: OUT_DIR is BIDS_DIR; results need a folder of their own")
    level = config.analysis_level
    if level == "participant" and work.is_relative_to(bids):
        parser.error(
            f"{config.work_dir}: the work folder is inside BIDS_DIR; name another with -w"
        )
    if level == "participant" and not (config.target or config.reports_only):
        parser.error("--target is needed: Siemens, GE, Philips, a target file or a NIfTI image")
