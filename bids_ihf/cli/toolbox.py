"""``ihf``: the tools beside the BIDS App, each in a module that is loaded when called.

The module of a subcommand has ``add_arguments(parser)`` and ``run(arguments)``, which returns the
exit code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from bids_ihf.cli.entry_point import run_command
from bids_ihf.version import __version__

PRODUCT_PACKAGE, LABORATORY_PACKAGE = "bids_ihf.cli.commands", "bids_ihf.lab.commands"
COMMAND_MODULES = {
    "harmonize": (PRODUCT_PACKAGE, "harmonize one image: one file in, one file out"),
    "target": (PRODUCT_PACKAGE, "list, show or build harmonization targets"),
    "validate": (PRODUCT_PACKAGE, "measure on people scanned on several scanners if it helps"),
    "restore": (PRODUCT_PACKAGE, "recover the original image from a harmonized one"),
    "evaluate": (LABORATORY_PACKAGE, "compare harmonized images with scans of the target scanner"),
    "demo-data": (LABORATORY_PACKAGE, "write a small simulated traveling-subject BIDS dataset"),
    "train": (LABORATORY_PACKAGE, "train or fine-tune a network"),
    "benchmark": (LABORATORY_PACKAGE, "measure harmonization on simulated traveling subjects"),
}
"""For each subcommand the package of its module, and what it does."""


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser of ``ihf``; only the chosen command's module is loaded for its options."""
    parser = argparse.ArgumentParser(
        prog="ihf",
        description="Tools that accompany the BIDS App ihf-harmony.",
        epilog="ihf COMMAND --help lists the options of a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ihf {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (package, text) in COMMAND_MODULES.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == chosen:
            module = import_module(f"{package}.{name.replace('-', '_')}")
            module.add_arguments(command)
            command.add_argument(
                "-v", "--verbose", action="count", default=0, help="more messages"
            )
            command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one tool and leave with its exit code."""
    typed = list(sys.argv[1:] if arguments is None else arguments)

    def command() -> int:
        chosen = next((word for word in typed if not word.startswith("-")), None)
        options = build_parser(chosen).parse_args(typed)
        from bids_ihf.pipeline.run_log import start_logging

        start_logging(options.verbose)
        return int(options.run(options))

    sys.exit(run_command("ihf", command))
