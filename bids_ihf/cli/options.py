"""The parser of ``ihf-harmony``, made from the schema of the settings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bids_ihf.cli.entry_point import EXIT_CODES
from bids_ihf.config.option import Option
from bids_ihf.config.settings import SETTING_OPTIONS
from bids_ihf.version import __version__

CONFIG_FILE = Option(
    "execution",
    "--config-file",
    "settings of an earlier run (sub-X/log/RUN/ihf_harmony.toml); other options override them",
    Path,
    metavar="TOML",
)
NO_TRACKING = Option(
    "execution",
    "--notrack",
    "accepted for compatibility; there is no tracking",
    action="store_true",
)
ALL_OPTIONS = {**SETTING_OPTIONS, "config_file": CONFIG_FILE, "notrack": NO_TRACKING}
"""The options of the settings, and two that are not settings."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``ihf-harmony``; it returns only what is given, no defaults."""
    parser = argparse.ArgumentParser(
        prog="ihf-harmony",
        description="Harmonize T1w, T2w, FLAIR and diffusion-weighted (DWI) brain MRI "
        "across scanners.",
        epilog="exit codes: " + "; ".join(f"{code} {text}" for code, text in EXIT_CODES.items()),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"ihf-harmony {__version__}")
    titles = dict.fromkeys(option.group for option in ALL_OPTIONS.values())
    groups = {title: parser.add_argument_group(title) for title in titles}
    for name, option in ALL_OPTIONS.items():
        add_option(groups[option.group], name)
    return parser


def add_option(parser: argparse._ActionsContainer, name: str) -> None:
    """Add one of `ALL_OPTIONS`; its spellings with underscores are accepted, but not listed."""
    option = ALL_OPTIONS[name]
    details: dict[str, Any] = {"help": option.description, "action": option.action}
    if option.action == "store":
        details |= {"type": option.convert, "nargs": option.nargs}
        details |= {"choices": option.choices, "metavar": option.metavar}
    flags = option.flags.split()
    if not flags:
        parser.add_argument(name, **details)
        return
    parser.add_argument(*flags, dest=name, **details)
    underscored = {f"--{flag[2:].replace('-', '_')}" for flag in flags if flag.startswith("--")}
    if underscored - {*flags}:
        details["help"] = argparse.SUPPRESS
        parser.add_argument(*sorted(underscored - {*flags}), dest=name, **details)
