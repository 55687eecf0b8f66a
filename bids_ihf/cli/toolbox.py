"""``ihf``: the tools beside the BIDS App, each in a module that is loaded when called."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from bids_ihf import __version__
from bids_ihf.errors import HarmonyError

if TYPE_CHECKING:
    from collections.abc import Sequence

PRODUCT, LABORATORY = "bids_ihf.cli.commands", "bids_ihf.lab.commands"
COMMANDS = {
    "target": (PRODUCT, "list, show or build targets"),
    "restore": (PRODUCT, "get the original image back from a harmonized one"),
    "evaluate": (LABORATORY, "compare harmonized images with scans of the target"),
    "demo-data": (LABORATORY, "write a small simulated traveling-subject BIDS dataset"),
    "train": (LABORATORY, "train or fine-tune a network"),
    "benchmark": (LABORATORY, "measure harmonization on simulated traveling subjects"),
}
"""For each subcommand the package of its module, and what it does."""
INTERRUPTED = 130


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser of ``ihf``; only the chosen command's module is loaded for its options."""
    parser = argparse.ArgumentParser(
        prog="ihf", description="Tools beside the BIDS App ihf-harmony.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"ihf {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (package, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == chosen:
            module = import_module(f"{package}.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.add_argument("-v", "--verbose", action="count", default=0, help="say more")
            command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one tool and leave with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((word for word in words if not word.startswith("-")), None)
    given = build_parser(chosen).parse_args(words)
    try:
        from bids_ihf.pipeline.run_log import start_logging

        start_logging(given.verbose)
        code = int(given.run(given))
    except HarmonyError as error:
        sys.stderr.write(f"ihf: error: {error}\n")
        code = error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("ihf: interrupted\n")
        code = INTERRUPTED
    sys.exit(code)
